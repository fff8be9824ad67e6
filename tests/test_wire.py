"""The wire protocol: what is written is read back, what is wrong is an answer, and the document's bytes are true."""

import json
import re
from pathlib import Path
from zlib import crc32

import hypothesis.extra.numpy as arrays
import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from braind.client import wire

PROTOCOL = (Path(__file__).parents[1] / "docs" / "protocol.md").read_text()
MESSAGES = {message.__struct_config__.tag: message for message in wire.AnyMessage.__args__}

frame_lists = st.lists(st.binary(max_size=64), max_size=6)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


def example_volume():
    voxels = np.arange(6, dtype=np.int16).reshape(1, 2, 3)
    return wire.volume_frames(voxels, session="s", run="r", index=0, scale=0.5)


def decode_or_wire_error(frames):
    error = None
    try:
        message, payload = wire.decode(frames)
        if isinstance(message, wire.Volume):
            wire.volume_array(message, payload)
    except wire.WireError as wire_error:
        error = wire_error
    assert error is None or error.code in {"malformed", "dtype", "shape", "length", "crc"}


# ── what is written is read back ────────────────────────────────────────────────────────────────────────────────────


@given(arrays.arrays(st.sampled_from(wire.VOLUME_DTYPES).map(np.dtype), arrays.array_shapes(min_dims=3, max_dims=3)))
@settings(max_examples=100)
def test_a_volume_comes_through_bit_for_bit(voxels):
    message, payload = wire.decode(wire.volume_frames(voxels, session="s", run="r", index=3))
    received = wire.volume_array(message, payload)
    assert received.shape == voxels.shape
    assert received.tobytes() == voxels.tobytes()


def test_a_big_endian_or_fortran_ordered_array_is_sent_little_endian_in_c_order():
    voxels = np.asfortranarray(np.arange(24, dtype=">i2").reshape(2, 3, 4))
    message, payload = wire.decode(wire.volume_frames(voxels, session="s", run="r", index=0))
    np.testing.assert_array_equal(wire.volume_array(message, payload), voxels)
    assert payload[0] == np.arange(24, dtype="<i2").tobytes()


def test_unknown_header_fields_are_ignored():
    magic, header, payload = example_volume()
    header = json.dumps({**json.loads(header), "colour": "blue"}).encode()
    assert wire.decode([magic, header, payload]) == wire.decode(example_volume())


def test_what_failed_is_known_from_messages_that_were_journaled_before_there_was_a_field_for_it():
    header = {"type": "skipped", "seq": 1, "session": "s", "run": "r", "index": 0}
    for reason, failed in (("failed: out of memory", True), ("a newer volume was waiting", False)):
        message, _ = wire.decode([b"BRD1", json.dumps({**header, "reason": reason}).encode()])
        assert (message.failed, message.reason) == (failed, reason)
        assert wire.decode(wire.encode(message))[0] == message


def test_unknown_numbers_of_volumes_are_null_on_the_wire():
    beat = wire.Heartbeat(last_seq=0, state="ready", n_acked=None, n_decoded=None, n_skipped=None)
    header = json.loads(bytes(wire.encode(beat)[1]))
    assert [header[name] for name in ("n_acked", "n_decoded", "n_skipped")] == [None] * 3
    assert wire.decode(wire.encode(beat))[0] == beat


def test_an_unknown_type_is_refused_by_name():
    with pytest.raises(wire.WireError, match="volumes"):
        wire.decode([b"BRD1", b'{"type":"volumes"}'])


def test_a_missing_field_is_refused_by_name():
    with pytest.raises(wire.WireError, match="crc32"):
        wire.decode([b"BRD1", b'{"type":"volume","session":"s","run":"r","index":0,"shape":[1,1,1],"dtype":"int16"}'])


# ── what is wrong is an answer ──────────────────────────────────────────────────────────────────────────────────────


@given(frame_lists)
@settings(max_examples=300)
def test_any_bytes_are_a_message_or_a_wire_error(frames):
    decode_or_wire_error(frames)


@given(json_values, st.lists(st.binary(max_size=32), max_size=3))
@settings(max_examples=300)
def test_any_json_is_a_message_or_a_wire_error(header, payload):
    decode_or_wire_error([b"BRD1", json.dumps(header).encode(), *payload])


@given(st.data())
@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow])
def test_a_volume_with_any_fields_changed_is_a_message_or_a_wire_error(data):
    magic, header, payload = example_volume()
    fields = json.loads(header)
    changed = data.draw(st.dictionaries(st.sampled_from(sorted(fields)), json_values, max_size=3))
    decode_or_wire_error(
        [magic, json.dumps({**fields, **changed}).encode(), data.draw(st.sampled_from([payload, b""]))]
    )


@given(st.data())
@settings(max_examples=300)
def test_a_volume_with_any_bytes_changed_is_a_message_or_a_wire_error(data):
    frames = [bytearray(frame) for frame in example_volume()]
    frame = data.draw(st.sampled_from(frames))
    for _ in range(data.draw(st.integers(1, 4))):
        frame[data.draw(st.integers(0, len(frame) - 1))] = data.draw(st.integers(0, 255))
    decode_or_wire_error([bytes(frame) for frame in frames])


def test_deep_nesting_is_an_answer():
    with pytest.raises(wire.WireError):
        wire.decode([b"BRD1", b"[" * 60_000])


def test_a_header_that_is_too_long_is_an_answer():
    with pytest.raises(wire.WireError, match="1048577 bytes"):
        wire.decode([b"BRD1", b" " * 1_048_577])


def test_shapes_whose_product_overflows_are_refused_before_anything_is_allocated():
    volume = wire.Volume(session="s", run="r", index=0, shape=(2**31, 2**31, 2**31), dtype="float64", crc32=0)
    with pytest.raises(wire.WireError) as error:
        wire.volume_array(volume, [b""])
    assert error.value.code == "length"


@pytest.mark.parametrize(("mode", "last"), [("z", "xz"), ("c", "xzc"), ("zc", "xzc"), ("of another version", "xzc")])
def test_a_modes_last_stage_is_its_best_picture(mode, last):
    assert wire.last_stage(mode) == last


# ── the document is true ────────────────────────────────────────────────────────────────────────────────────────────


def test_the_worked_example_of_the_document_is_what_is_sent():
    frames = [bytes.fromhex(re.sub(r"\s", "", block)) for block in re.findall(r"```hex\n(.*?)```", PROTOCOL, re.S)]
    assert len(frames) == 3
    message, payload = wire.decode(frames)
    assert message == wire.Volume(
        session="s", run="r", index=0, shape=(1, 2, 3), dtype="int16", crc32=crc32(frames[2]), scale=0.5
    )
    np.testing.assert_array_equal(wire.volume_array(message, payload), [[[0, 1, 2], [3, 4, 5]]])
    # Other writers may leave out fields that have their defaults; ours writes them all.
    assert wire.decode(example_volume()) == wire.decode(frames)


def test_the_document_names_every_message_and_field():
    for tag, message in MESSAGES.items():
        assert f"`{tag}`" in PROTOCOL, tag
        for field in message.__struct_fields__:
            assert f"`{field}`" in PROTOCOL, f"{tag}.{field}"
    for field in (
        *wire.Provenance.__struct_fields__,
        *wire.Retrieved.__struct_fields__,
        *wire.LabelProbability.__struct_fields__,
    ):
        assert f"`{field}`" in PROTOCOL, field


def test_the_document_names_every_refusal_code_of_the_daemon():
    code = re.compile(r'code="([a-z_]+)"')
    sources = [*Path(wire.__file__).parent.glob("wire.py"), *(Path(__file__).parents[1] / "daemon").rglob("*.py")]
    codes = {found for path in sources for found in code.findall(path.read_text())}
    start_up = {"option", "loopback", "host", "in_use", "port_in_use", "socket", "ldm"}
    for found in codes - start_up:
        assert f"| `{found}` |" in PROTOCOL, found


@pytest.mark.parametrize("field", ["type", "session", "unknown"])
def test_json_nested_too_deeply_is_malformed(field):
    header = b'{"type":"grid_request","%s":' % field.encode() + b"[" * 30_000 + b"]" * 30_000 + b"}"
    with pytest.raises(wire.WireError, match="JSON header") as refused:
        wire.decode([wire.MAGIC, header])
    assert refused.value.code == "malformed"


# ── arrays, defaults, words ─────────────────────────────────────────────────────────────────────────────────────────

VOXELS = np.arange(24, dtype=np.int16).reshape(2, 3, 4)


def volume_and_payload(**fields):
    volume, payload = wire.decode([bytes(frame) for frame in wire.volume_frames(VOXELS, session="s", run="r", index=5)])
    return msgspec.structs.replace(volume, **fields), payload


def test_voxels_come_back_as_they_were_sent():
    np.testing.assert_array_equal(wire.volume_array(*volume_and_payload()), VOXELS)


@pytest.mark.parametrize(
    ("fields", "frames", "code"),
    [
        ({"dtype": "complex64"}, None, "dtype"),
        ({"dtype": "object"}, None, "dtype"),
        ({"shape": (2, 0, 4)}, None, "shape"),
        ({"shape": (-2, -3, 4)}, None, "shape"),
        ({"shape": (2**31, 2**31, 2**31)}, None, "length"),
        ({"dtype": "float32"}, None, "length"),
        ({"seen": True}, None, "length"),
        ({}, [], "length"),
        ({}, [b"", b""], "length"),
        ({"crc32": 1}, None, "crc"),
    ],
)
def test_a_payload_that_contradicts_its_header_is_refused_by_run_and_volume(fields, frames, code):
    volume, payload = volume_and_payload(**fields)
    with pytest.raises(wire.WireError, match="run r, volume 5: ") as error:
        wire.volume_array(volume, payload if frames is None else frames)
    assert error.value.code == code


def test_fields_that_a_client_leaves_out_have_the_values_that_the_document_names():
    volume, _ = volume_and_payload()
    assert (volume.scale, volume.n_averaged, volume.seen) == (1.0, 1, False)
    assert wire.Event(session="s", run="r", event=0, onset_s=0.0).duration_s == 3.0
    assert wire.FetchRequest(from_seq=1).limit == 100
    provenance = wire.Provenance(
        subject=1, preset="p", mode="zc", seed=1, engine="e", weights="w", ldm="l", simulated=True, version="0"
    )
    decode = wire.Decode(
        seq=1, session="s", run="r", index=0, stage="xz", provenance=provenance, timings_s={}
    )  # fmt: skip
    assert (decode.n_averaged, decode.is_final) == (1, True)


def test_a_gap_names_its_first_and_last_volume():
    assert "31–33" in wire.Gap(seq=1, session="s", run="r", index=31, n_missing=3).sentence
    assert "31" in wire.Gap(seq=1, session="s", run="r", index=31, n_missing=1).sentence


def test_a_message_of_another_writer_that_leaves_out_optional_fields_says_nothing_more():
    provenance = {"subject": 1, "preset": "p", "mode": "zc", "seed": 0, "engine": "e", "weights": "w", "ldm": "l",
                  "simulated": False, "version": "0"}  # fmt: skip
    header = {"type": "decode", "seq": 1, "session": "s", "run": "r", "index": 0, "stage": "xz",
              "provenance": provenance, "timings_s": {}}  # fmt: skip
    decode, _ = wire.decode([wire.MAGIC, json.dumps(header).encode()])
    assert (decode.seen, decode.spike, decode.misaligned) == (False, False, False)
    assert (decode.is_final, decode.n_averaged, decode.labels) == (True, 1, ())
    assert {decode.trial, decode.nsd_id, decode.event, decode.uncertainty, decode.n_without_signal} == {None}
    event = {"type": "event", "session": "s", "run": "r", "event": 0, "onset_s": 1.5}
    assert wire.decode([wire.MAGIC, json.dumps(event).encode()])[0].duration_s == 3.0
    assert wire.Welcome(session="s", run="r", next_index=0, weights="w", simulated=True).protocol == 1

"""Extreme numbers in every field of every message, and in the voxels. Both processes and other runs go on."""

import json
from zlib import crc32

import numpy as np
import pytest
from mutations import NUMBERS, control_messages, header, ingest_messages, with_numbers
from running_daemon import SHAPE, RunningDaemon, hello, volume_frames

from braind.client import wire

N_VOLUMES = 3
VOXELS = {
    "all zero": np.zeros(SHAPE, np.float32),
    "all the same": np.full(SHAPE, 17, np.float32),
    "the smallest denormal": np.full(SHAPE, 1e-45, np.float32),
    "finite and huge": np.full(SHAPE, 1e37, np.float32),
    "finite and huge, both signs": np.where(np.indices(SHAPE).sum(0) % 2, 3e38, -3e38).astype(np.float32),
    "not a number": np.full(SHAPE, np.nan, np.float32),
    "infinite": np.full(SHAPE, -np.inf, np.float32),
    "float64 beyond float32": np.full(SHAPE, 1e308, np.float64),
    "the largest int32": np.full(SHAPE, 2**31 - 1, np.int32),
    "the lowest int16": np.full(SHAPE, -(2**15), np.int16),
}


@pytest.fixture(scope="module")
def daemon(files, tmp_path_factory):
    daemon = RunningDaemon(files, tmp_path_factory.mktemp("extremes"), decode={"mode": "z"})
    yield daemon.start()
    daemon.close()


@pytest.fixture(autouse=True)
def goes_on(daemon, request):
    """After each test a good run is decoded, nothing waits, and no decoder has died."""
    yield
    run = f"after-{abs(hash(request.node.name))}"
    with daemon.connect("ingest") as peer, daemon.watch() as viewer:
        assert isinstance(peer.ask(hello(run=run)), wire.Welcome)
        assert isinstance(peer.ask_frames(volume_frames(0, run=run)), wire.Ack)
        viewer.until(lambda message: message.run == run and message.stage == "xz")
    status = daemon.wait_until(lambda status: status.n_waiting == 0)
    assert (status.state, status.decoder_restarts) == ("ready", 0), daemon.words()
    for message, _ in daemon.decodes():
        if isinstance(message, wire.Decode):
            scores = [retrieved.score for retrieved in message.retrieved] + list(message.timings_s.values())
            assert np.isfinite([score for score in scores if score is not None]).all()


def send_run(peer, fields, run):
    """Open a run with these fields, give it volumes and onsets, and end it; return whether it was opened."""
    if not isinstance(peer.ask_frames([b"BRD1", json.dumps({**fields, "run": run}).encode()]), wire.Welcome):
        return False
    for index in range(N_VOLUMES):
        peer.ask(wire.Event(session="ses", run=run, event=index, onset_s=1.5 * index, duration_s=0))
        assert isinstance(peer.ask_frames(volume_frames(index, run=run)), wire.Ack | wire.Refused)
    assert isinstance(peer.ask(wire.EndRun(session="ses", run=run, n_volumes=N_VOLUMES)), wire.Ack | wire.Refused)
    return True


@pytest.mark.parametrize("kind", ["beta", "bold"])
def test_runs_that_open_with_extreme_numbers_are_refused_or_decoded(daemon, kind):
    fields = header(hello(kind=kind, tr_s=4 / 3), right=100, foil=101, n_volumes=9, protocol=1)
    with daemon.connect("ingest") as peer:
        assert send_run(peer, fields, f"{kind}-plain")
        extremes = enumerate(with_numbers([b"BRD1", json.dumps(fields).encode()]))
        opened = [send_run(peer, json.loads(frames[1]), f"{kind}-{count}") for count, (*_, frames) in extremes]
    assert any(opened)
    assert not all(opened)


def test_extreme_numbers_in_an_open_runs_messages_are_answered(daemon):
    run, bold = "numbers", "numbers-bold"
    voxels = volume_frames(0)[2]
    volume = wire.Volume(session="ses", run=run, index=0, shape=SHAPE, dtype="int16", crc32=crc32(voxels))
    trial = {"trial": 1, "nsd_id": 2, "right": 100, "foil": 101}
    rest = {"sent_s": 1.0, "motion": [0.0] * 6, "roi_values": [0.5], "scale": 1.0, "n_averaged": 1}
    messages = [
        (header(volume, **trial, **rest), [voxels]),
        (header(volume, **trial, **rest, run=bold), [voxels]),
        (header(wire.Event(session="ses", run=bold, event=0, onset_s=1.0), duration_s=3.0, **trial), []),
        (header(wire.EndRun(session="ses", run=f"{run}-unknown", n_volumes=2)), []),
        (header(wire.ClockRequest(sent_s=1.0, offset_s=1.0, uncertainty_s=1.0)), []),
    ]
    with daemon.connect("ingest") as peer:
        for frames in ingest_messages(run)[:2]:
            assert isinstance(peer.ask_frames(frames), wire.Welcome)
        for fields, payload in messages:
            answers = []
            # Each message is another event, or another volume: the same one again is only a duplicate or a conflict.
            for count, (field, number, frames) in enumerate(
                with_numbers([b"BRD1", json.dumps(fields).encode(), *payload])
            ):
                changed = json.loads(frames[1])
                number_in_run = {"volume": "index", "event": "event"}.get(fields["type"])
                if number_in_run and field != number_in_run:
                    changed[number_in_run] = count
                answers.append(peer.ask_frames([frames[0], json.dumps(changed).encode(), *payload]))
                assert getattr(answers[-1], "code", "") != "internal", (fields["type"], field, number, daemon.words())
            taken = [answer for answer in answers if not isinstance(answer, wire.Refused)]
            assert len(answers) > len(taken)
            assert taken or fields["type"] == "end_run"


def test_extreme_numbers_in_requests_are_answered(daemon):
    with daemon.connect("control") as peer:
        for frames in control_messages():
            for field, number, changed in with_numbers(frames):
                peer.socket.send_multipart(changed)
                while isinstance(answer := peer.receive(), wire.Numbered):
                    pass
                assert getattr(answer, "code", "") != "internal", (field, number, daemon.words())


@pytest.mark.parametrize("kind", ["beta", "bold"])
def test_volumes_of_extreme_voxels_are_refused_or_end_as_decoded_or_failed(daemon, kind):
    with daemon.connect("ingest") as peer:
        for number, (name, stored) in enumerate(VOXELS.items()):
            run = f"voxels-{kind}-{number}"
            peer.ask(hello(run=run, kind=kind, tr_s=4 / 3, dtype=stored.dtype.name))
            if kind == "bold":
                peer.ask(wire.Event(session="ses", run=run, event=0, onset_s=0.5))
            for index in range(12):
                # an ordinary volume after an extreme one must not inherit anything that is not finite
                frames = volume_frames(index, run=run, stored=stored if index in (0, 5) else None, scale=1.0)
                assert getattr(peer.ask_frames(frames), "code", "") in ("", "not_finite", "range"), name


def test_a_scale_of_any_size_is_refused_or_leads_to_a_finite_decode(daemon):
    with daemon.connect("ingest") as peer:
        peer.ask(hello(run="scales"))
        index = 0
        for scale in NUMBERS:
            frames = volume_frames(index, run="scales", scale=float(scale))
            if np.isfinite(float(scale)):
                answer = peer.ask_frames(frames)
                index += isinstance(answer, wire.Ack)
                assert getattr(answer, "code", "") in ("", "not_finite", "range", "scale")

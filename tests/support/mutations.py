"""Valid messages with something wrong put into them: bytes, frames, fields and numbers."""

import json
import random
from collections.abc import Iterator
from typing import Any

from running_daemon import PNG, hello, volume_frames

from braind.client import wire

MANY_FRAMES = 1000
DEEP = 10_000
# Python's json writes the last three as NaN and Infinity, which JSON does not have.
NUMBERS = (
    0, -1, 2, 2**15, 2**31 - 1, 2**31, -(2**31) - 1, 2**53 + 1, 2**63 - 1, 2**63, -(2**63), 2**64, 10**30,
    0.5, -0.0, 5e-324, 1e-300, -1e-300, 1e38, 1e300, -1.7e308, float("nan"), float("inf"), float("-inf"),
)  # fmt: skip
OTHERS = (
    None,
    True,
    "",
    "1",
    "\x00",
    "../../etc/passwd",
    "\ud83e",
    "\u202e\x1b[2J<script>",
    "x" * 5000,
    [],
    {},
    [[]] * 50,
)
HOSTILE_BYTES = (b"\xff\xfe", b"\xc3\x28", b"\x00", b"{" * DEEP, b"[" * DEEP, b'"', b"NaN", b"1e999", b"\xed\xa0\x80")


def ingest_messages(run: str = "fuzzed") -> list[list[bytes]]:
    """Return a valid message of every type that the ingest socket takes; the runs are named after `run`."""
    return _as_bytes([
        wire.encode(hello(run=run)),
        wire.encode(hello(run=f"{run}-bold", kind="bold", tr_s=4 / 3)),
        volume_frames(0, run=run),
        volume_frames(1, run=f"{run}-bold", scale=1.0),
        volume_frames(2, run=run, seen_png=PNG, right="picture 1", foil=107, captions=("a cat",), motion=(0.0,) * 6),
        wire.encode(wire.Event(session="ses", run=f"{run}-bold", event=0, onset_s=1.0)),
        wire.encode(wire.Event(session="ses", run=f"{run}-bold", event=1, onset_s=8.0, seen=True, trial=5), PNG),
        wire.encode(wire.EndRun(session="ses", run=f"{run}-none", n_volumes=3)),
        wire.encode(wire.GridRequest()),
        wire.encode(wire.ClockRequest(sent_s=1.0, offset_s=0.5, uncertainty_s=0.1)),
    ])  # fmt: skip


def control_messages() -> list[list[bytes]]:
    """Return a valid message of every type that the control socket takes, but `shutdown`."""
    calibration = wire.Calibration(
        session="ses", n_trials=5, n_pictures=3, minutes=1.5, two_way=0.6, low=0.5, high=0.7
    )  # fmt: skip
    return _as_bytes([
        wire.encode(wire.StatusRequest()),
        wire.encode(wire.FetchRequest(from_seq=1, limit=3)),
        wire.encode(wire.Pause(paused=False)),
        wire.encode(wire.Use(weights="/nowhere/weights.safetensors", candidates="/nowhere/candidates.safetensors")),
        wire.encode(calibration),
        wire.encode(wire.Change(policy="all", refine="")),
        wire.encode(wire.Mark(note="a mark", session="ses", run="run-01", index=3, age_s=2.0)),
        wire.encode(wire.SetupRequest()),
        wire.encode(wire.RecordedRequest(picture=True)),
    ])  # fmt: skip


def mutated(frames: list[bytes], chance: random.Random) -> list[bytes]:
    """Return a message with one to three things put wrong."""
    for _ in range(chance.randrange(1, 4)):
        frames = chance.choice(_MUTATIONS)(list(frames), chance)
    # ZeroMQ cannot send a message without frames.
    return frames or [b""]


def with_numbers(frames: list[bytes]) -> Iterator[tuple[str, Any, list[bytes]]]:
    """Yield the message with each number of its header replaced by each of `NUMBERS`: the field, the number, frames."""
    fields = json.loads(frames[1])
    for path in _numeric_paths(fields):
        for number in NUMBERS:
            changed = json.loads(frames[1])
            _put(changed, path, number)
            yield ".".join(map(str, path)), number, [frames[0], json.dumps(changed).encode(), *frames[2:]]


def header(message: wire.Message, **fields: Any) -> dict[str, Any]:
    """Return a message's header as a JSON object, with these fields changed."""
    return {**json.loads(wire.encode(message)[1]), **fields}


def _numeric_paths(fields: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    items = fields.items() if isinstance(fields, dict) else enumerate(fields) if isinstance(fields, list) else ()
    for name, value in items:
        if isinstance(value, int | float) and not isinstance(value, bool):
            yield (*path, name)
        yield from _numeric_paths(value, (*path, name))


def _put(fields: Any, path: tuple[Any, ...], value: Any) -> None:
    for name in path[:-1]:
        fields = fields[name]
    fields[path[-1]] = value


def _as_bytes(messages: list[list[Any]]) -> list[list[bytes]]:
    return [[bytes(frame) for frame in frames] for frames in messages]


# ── what is put wrong ───────────────────────────────────────────────────────────────────────────────────────────────


def _flip(frames: list[bytes], chance: random.Random) -> list[bytes]:
    number, content = _any_frame(frames, chance)
    if content:
        content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    return [*frames[:number], bytes(content), *frames[number + 1 :]]


def _cut(frames: list[bytes], chance: random.Random) -> list[bytes]:
    number, content = _any_frame(frames, chance)
    return [*frames[:number], bytes(content[: chance.randrange(len(content) + 1)]), *frames[number + 1 :]]


def _insert(frames: list[bytes], chance: random.Random) -> list[bytes]:
    number, content = _any_frame(frames, chance)
    at = chance.randrange(len(content) + 1)
    content[at:at] = chance.choice(HOSTILE_BYTES)
    return [*frames[:number], bytes(content), *frames[number + 1 :]]


def _swap(frames: list[bytes], chance: random.Random) -> list[bytes]:
    return chance.sample(frames, len(frames))


def _number_of_frames(frames: list[bytes], chance: random.Random) -> list[bytes]:
    n_frames = chance.choices((0, 1, 2, 5, MANY_FRAMES), weights=(10, 10, 10, 10, 1))[0]
    return (frames + [b""] * n_frames)[:n_frames]


def _field(frames: list[bytes], chance: random.Random) -> list[bytes]:
    return _changed(frames, lambda fields: _put(fields, _any_path(fields, chance), chance.choice(NUMBERS + OTHERS)))


def _deep(frames: list[bytes], chance: random.Random) -> list[bytes]:
    fields = _fields(frames)
    if not fields:
        return frames
    name = chance.choice(list(fields))
    return [frames[0], json.dumps({**fields, name: 0}).replace(": 0", ": " + "[" * DEEP + "]" * DEEP, 1).encode()]


def _duplicate_key(frames: list[bytes], chance: random.Random) -> list[bytes]:
    fields = _fields(frames)
    if not fields:
        return frames
    name = json.dumps(chance.choice(list(fields)))
    again = f"{name}: {json.dumps(chance.choice(NUMBERS + OTHERS))}, "
    return [frames[0], b"{" + again.encode() + frames[1][1:], *frames[2:]]


def _without_field(frames: list[bytes], chance: random.Random) -> list[bytes]:
    return _changed(frames, lambda fields: fields.pop(chance.choice(list(fields))))


_MUTATIONS = (
    _flip,
    _cut,
    _insert,
    _swap,
    _number_of_frames,
    _field,
    _field,
    _field,
    _deep,
    _duplicate_key,
    _without_field,
)


def _changed(frames: list[bytes], change: Any) -> list[bytes]:
    fields = _fields(frames)
    if not fields:
        return frames
    change(fields)
    return [frames[0], json.dumps(fields).encode(), *frames[2:]]


def _fields(frames: list[bytes]) -> dict[str, Any]:
    """Return the header's fields; none if an earlier mutation made the header unreadable."""
    try:
        fields = json.loads(frames[1])
    except (ValueError, IndexError, RecursionError):
        return {}
    return fields if isinstance(fields, dict) else {}


def _any_path(fields: dict[str, Any], chance: random.Random) -> tuple[Any, ...]:
    paths = [(name,) for name in fields if name != "type"] + list(_numeric_paths(fields))
    return chance.choice(paths or [("type",)])


def _any_frame(frames: list[bytes], chance: random.Random) -> tuple[int, bytearray]:
    if not frames:
        return 0, bytearray()
    number = chance.randrange(len(frames))
    return number, bytearray(frames[number])

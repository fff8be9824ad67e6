"""Negative numbers have a true minus sign on screens; what machines read keeps the hyphen-minus."""

import io
import json
import re
import sys

import msgspec
from monitor_screens import in_event_loop, until, words_of
from played_session import watching

from braind.client import wire
from braind.console import never_fail_on_a_character
from braind.tui.programs.decode_fields import DecodeFields, plain_line, rounded
from braind.tui.screens.trials import TrialsScreen, TrialsTable

HYPHEN_BEFORE_NUMBER = re.compile(r"(?<![\w.])-\d")
RETRIEVED = tuple(wire.Retrieved(label=f"picture {n}", score=-0.1 - n / 10) for n in range(5))


def decode_below_zero(session, index):
    """Publish a decode whose numbers are below zero."""
    signals = (wire.VolumeSignal(index=index, rois={"early": 1000.0 - 9 * index}),)
    names = {"session": "sub-01_ses-14", "run": "sub-01_ses-14_run-03", "index": index}
    seq = session.daemon.last_seq + 1
    message = wire.Decode(
        seq=seq, **names, stage="scores", provenance=session.daemon.provenance, timings_s={"scores": 0.01},
        retrieved=RETRIEVED, feedback=-0.18, event=index, since_onset_s=8.0, signals=signals,
    )  # fmt: skip
    session.daemon.publish(message)
    for stage in ("xz", "xzc"):
        later = msgspec.structs.replace(message, seq=session.daemon.last_seq + 1, stage=stage, retrieved=(), signals=())
        session.daemon.publish(later, session._png_of(9, 9, 9))
    return message


@in_event_loop
async def test_no_screen_writes_a_negative_number_with_a_hyphen(session):
    status = session.daemon._status()
    session.daemon.answers |= {
        wire.StatusRequest: msgspec.structs.replace(status, clock_offset_s=-0.25, clock_uncertainty_s=0.001),
        wire.SetupRequest: wire.Setup(
            mode="zc", refine="", presets=("live-4",), keys="off", libzmq="4.3.5", connections=(), clock_step_s=-1.25
        ),
    }
    async with watching(session, (200, 60)) as pilot:
        app = pilot.app
        for index in range(12):
            decode_below_zero(session, index)
        session.beat(clock_offset_s=-0.25, clock_uncertainty_s=0.001)
        await until(pilot, lambda: app.recent.n_finished == 12)
        await until(pilot, lambda: "−250.0" in words_of(app.screen))
        for keys, words in (
            ((), ("−0.18", "−0.10", "−250.0 ± 1.0 ms")),
            (("y",), ("−",)),
            (("escape", "u"), ("−250.0 ms", "−1.250 s")),
            (("escape", "t"), ("−0.18", "−0.10")),
            (("home", "enter"), ("−0.180", "−0.500")),
            (("escape", "home", "space", "c"), ("−0.180",)),
        ):
            await pilot.press(*keys)
            await until(pilot, lambda words=words: all(word in words_of(app.screen) for word in words))
            assert not HYPHEN_BEFORE_NUMBER.findall(words_of(app.screen))


@in_event_loop
async def test_the_filter_takes_a_keyboards_hyphen_for_a_minus_sign(session):
    async with watching(session, (200, 30)) as pilot:
        decode_below_zero(session, 0)
        session.decode(1, feedback=0.3)
        await until(pilot, lambda: pilot.app.recent.n_finished == 2)
        await pilot.press("t")
        await until(pilot, lambda: isinstance(pilot.app.screen, TrialsScreen))
        await pilot.press("slash", *"-0.18 run-03")
        await until(pilot, lambda: pilot.app.screen.query_one(TrialsTable).row_count == 1)


def test_lines_and_json_keep_the_hyphen(session):
    scores = decode_below_zero(session, 0)
    decodes = DecodeFields()
    decodes.take(scores)
    fields = decodes.take(msgspec.structs.replace(scores, stage="xzc", seq=3))
    assert "-0.180" in plain_line(fields)
    assert "−" not in plain_line(fields)
    assert json.loads(msgspec.json.encode(rounded(fields)))["feedback"] == -0.18


def test_a_terminal_without_the_sign_gets_the_hyphen(monkeypatch):
    stream = io.TextIOWrapper(io.BytesIO(), "latin-1")
    monkeypatch.setattr(sys, "stderr", stream)
    never_fail_on_a_character()
    stream.write("−0.18 – x")
    stream.flush()
    assert stream.buffer.getvalue() == b"-0.18 - x"

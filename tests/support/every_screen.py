"""How each screen of the monitor is reached from Live, where three trials are decoded."""

import asyncio

import pytest
from monitor_screens import words_of

from braind.client import wire
from braind.offline.sessions.listing import SessionRow

TIMEOUT_S = 20.0

WAYS = {
    "Monitor": [], "Help": ["question_mark"], "ConfirmPause": ["p"], "Zoom": ["z"], "TrialsScreen": ["t", "home"],
    "TrialsTable": ["t"], "FilterInput": ["t", "slash", "2"], "TrialScreen": ["t", "enter"],
    "CompareScreen": ["t", "home", "space", "c"], "QualityScreen": ["y"], "EventsScreen": ["e"],
    "SessionsScreen": ["d"], "SessionsTable": ["d", "down"], "ControlScreen": ["c"], "Choose": ["c", "down", "enter"],
    "Confirm": ["c", "p"], "MarkDialog": ["m"], "SetupScreen": ["u"], "CalibrationScreen": ["k"],
}  # fmt: skip


def on_show(name):
    return lambda app, daemon: type(app.screen).__name__ == name


def says(words):
    return lambda app, daemon: words in " ".join(words_of(app.screen).split())


class Listing:
    """Two sessions that cannot be read, and how often they were asked for."""

    def __init__(self):
        self.n_asked = 0

    def __call__(self):
        self.n_asked += 1
        return [
            SessionRow(session=f"ses-{n}", path=f"ses-{n}.sqlite3", n_bytes=1, state="unreadable", problem="damaged")
            for n in (1, 2)
        ]


async def until(pilot, daemon, holds, what):
    try:
        async with asyncio.timeout(TIMEOUT_S):
            while not holds(pilot.app, daemon):
                await pilot.pause(0.01)
    except TimeoutError:
        pytest.fail(f"{what}: not seen on {type(pilot.app.screen).__name__}\n{words_of(pilot.app.screen)}")


def publish(daemon):
    """Three trials of a run, after one of the run before."""
    signals = (wire.VolumeSignal(index=0, rois={"early": 1000.0}),)
    for run, n in (("02", 1), ("03", 3)):
        for index in range(n):
            daemon.decode(
                index, run=f"sub-01_ses-14_run-{run}", session=f"sub-01_ses-14{'' if run == '03' else 'b'}",
                signals=signals, seen_png=None if run == "02" else daemon.picture,
            )  # fmt: skip
    daemon.heartbeat()


def answer_setup(daemon):
    daemon.answers[wire.SetupRequest] = wire.Setup(
        mode="zc", refine="", presets=("live-1", "live-4"), keys="off", libzmq="4.3.5", connections=()
    )


OPENS = {"t", "c", "d", "enter", "p", "question_mark", "z", "y", "e", "m", "u", "k"}
"""Keys after which another screen is on show."""


async def walk(pilot, daemon, keys):
    """Press the keys, and wait for each screen that they open."""
    for key in keys:
        before = pilot.app.screen
        await pilot.press(key)
        if key not in OPENS:
            continue
        await until(pilot, daemon, lambda app, _: app.screen is not before, f"{key} before")  # noqa: B023
        await pilot.pause()
        if key == "c" and type(pilot.app.screen).__name__ == "ControlScreen":
            await until(pilot, daemon, lambda app, _: app.screen._status is not None, "control before")
        if key == "d":
            await until(pilot, daemon, lambda app, _: app.screen.query_one("#sessions").row_count == 2, "sessions")

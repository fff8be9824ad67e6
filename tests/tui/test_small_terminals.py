"""On small terminals whole facts are left out, the least important first; no word is cut in its middle."""

import re

import pytest
from monitor_screens import in_event_loop, until, words_of

from braind.client import wire
from braind.tui.app import Monitor

LONG_SESSION = "sub-pilot07_ses-20261129_acq-highres_desc-afternoon"


def live(app):
    return words_of(app.screen_stack[0].query_one("#live"))


def shown(app):
    return words_of(app.screen_stack[0].query_one("#shown"))


SCORES = wire.Calibration(
    session=LONG_SESSION, n_trials=24, n_pictures=20, minutes=1.6, two_way=0.712, low=0.651, high=0.77
)
BEATS = {
    "stalled": {"n_acked": 1412, "n_waiting": 3, "stalled_s": 3.2, "calibration": SCORES, "session_restarts": 2},
    "restarting": {
        "state": "starting", "n_acked": 12, "n_waiting": 9, "session_restarts": 2, "is_decoder_down": True,
        "crashed_run": "a_run_of_another_session-07", "crashed_index": 31, "n_without_signal": 1412,
    },
    "clock": {
        "n_acked": 12, "n_waiting": 0, "clock_offset_s": 3600.5, "clock_uncertainty_s": 0.002, "durability": "normal",
    },
}  # fmt: skip


def tokens(app):
    """The words on the screen. Numbers with a unit are left out: they grow from one screen to the next."""
    words = "\n".join(
        words_of(app.screen_stack[0].query_one(kind))
        for kind in (
            "#live",
            "#shown",
            "#counters",
            "#alarm",
            "#xz-caption",
            "#class-line",
            "Retrieval",
            "Keys",
            "#xzc",
        )
    )
    return {word for word in words.split() if not re.fullmatch(r"[\d.,+±()–━╸▀│-]*", word)}


@pytest.mark.parametrize("size", [(80, 24), (60, 15)], ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("beat", BEATS.values(), ids=BEATS)
@in_event_loop
async def test_no_word_is_cut_in_its_middle_and_the_most_important_stays(start_daemon, size, beat):
    run = f"{LONG_SESSION}_task-imagery_run-04"
    names = {"session": LONG_SESSION, "run": run}
    fields = {"label": "a photograph of a red fox in deep snow", "event": 3, "trial": 3121, "since_onset_s": 12.0}
    seen = {}
    for one in (size, (600, 60)):
        daemon = start_daemon()
        async with Monitor(daemon.endpoints).run_test(size=one) as pilot:
            app = pilot.app
            daemon.wait_for_viewer()
            daemon.decode(31, **names, **fields, misaligned=True, feedback=0.42)
            daemon.heartbeat(**names, **beat)
            await until(pilot, lambda app=app: app.recent.n_finished and app.connection.heartbeat is not None)
            await until(pilot, lambda app=app: "run-04" in shown(app) and "backlog" in live(app))
            await pilot.pause()
            seen[one] = tokens(app)
            assert not beat.get("session_restarts") or re.search("restarts 2|decoder restarting", live(app))
            for words in ("event 3", "misaligned", "run-04"):
                assert words in shown(app)
    parts = {part for word in seen[600, 60] for part in [word, *re.split(r"[_\-./,;:+]", word)]}
    cut = {
        word
        for word in seen[size]
        if word not in seen[600, 60] and any(part not in parts for part in re.split(r"[_\-./,;:+…]", word) if part)
    }
    assert {word for word in cut if not re.search(r"\d", word)} <= SHORTER_FORMS


SHORTER_FORMS = set(
    "did the scanner, sending program or its network stop? scanner, sender network? daemon killed, machine down: try: "
    "decoder died; kept and later volumes Xz unreachable for loading time)".split()
)
"""Words that only shorter sentences have."""


@in_event_loop
async def test_a_calibration_score_is_on_a_small_screen_beside_long_names(daemon):
    async with Monitor(daemon.endpoints).run_test(size=(60, 15)) as pilot:
        app = pilot.app
        daemon.wait_for_viewer()
        run = f"{LONG_SESSION}_run-04"
        daemon.heartbeat("recording", session=LONG_SESSION, run=run, n_acked=24, n_waiting=0, calibration=SCORES)
        await until(pilot, lambda: "calibration 24 trials, two-way 0.71 (0.65–0.77)" in shown(app))
        assert "live run-04" in live(app)

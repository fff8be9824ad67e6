"""The seen picture's rank, the score of the run so far with its interval, the trial clock, and the alarm of motion."""

import time

import pytest
from monitor_screens import in_event_loop, until, words_of

from braind.client import wire
from braind.tui.app import Monitor
from braind.tui.live.retrieval import Retrieval
from braind.tui.live.score_line import ScoreLine
from braind.tui.live.state_bar import StateBar
from braind.tui.state.run_score import run_score, wilson
from braind.tui.state.trials import TrialRecord


@pytest.mark.parametrize(
    ("n_right", "n", "low", "high"), [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0, 0.1611),
                                      (1, 29, 0.0061, 0.1718)]
)  # fmt: skip
def test_the_interval_is_wilsons_as_newcombe_tabulates_it(n_right, n, low, high):
    assert wilson(n_right / n, n) == pytest.approx((low, high), abs=5e-5)


def record(number, two_way=None, picture=None, **fields):
    return TrialRecord(
        ((0, "s", "r"), None, number), "s", "r", number, None, two_way=two_way, picture=picture, **fields
    )


def test_a_runs_score_counts_final_trials_and_averages_repeats_of_a_picture_first():
    records = [
        record(0, 1.0, picture=7),
        record(1, 0.5, picture=7),
        record(2, 0.25, picture=8),
        record(3, 0.0, picture=9, is_final=False),
        record(4),
    ]
    score = run_score(records)
    assert (score.mean, score.n_trials, score.n_pictures, score.chance) == (0.5, 3, 2, 0.5)
    assert (score.low, score.high) == wilson(0.5, 2)


def test_a_run_of_classes_is_scored_by_its_right_trials_against_chance():
    score = run_score([record(n, is_right=n < 3, n_classes=4) for n in range(5)] + [record(5, n_classes=4)])
    assert (score.mean, score.n_trials, score.n_pictures, score.chance) == (0.6, 5, None, 0.25)


def test_a_run_without_a_known_picture_has_no_score():
    assert run_score([record(0), record(1)]) is None


def seen(rank, nsd_id, label="a crab"):
    return {
        "n_candidates": 300,
        "seen_candidate": wire.SeenCandidate(label=label, score=0.31, rank=rank, nsd_id=nsd_id),
    }


@in_event_loop
async def test_the_seen_pictures_rank_is_marked_and_the_run_has_a_score_with_its_interval(daemon):
    async with Monitor(daemon.endpoints).run_test(size=(120, 40)) as pilot:
        app = pilot.app
        daemon.wait_for_viewer()
        daemon.decode(0, **seen(1, 5))
        daemon.decode(1, **seen(17, 9))
        line, rows = app.query_one(ScoreLine), app.query_one(Retrieval)
        await until(pilot, lambda: "17th of 300 candidates" in words_of(line))
        low, high = wilson((1 + 283 / 299) / 2, 2)
        assert f"run two-way 0.97 (95 % {low:.2f}–{high:.2f}), 2 trials  chance 0.50" in words_of(line)
        last = words_of(rows).splitlines()[-1]
        assert last.startswith("▸17")
        assert last.endswith("a crab seen")
        assert sum("seen" in row for row in words_of(rows).splitlines()) == 1
        daemon.decode(2)
        await until(pilot, lambda: "rank unknown" in words_of(line))
        assert "seen" not in words_of(rows)
        assert "2 trials" in words_of(line)


@in_event_loop
async def test_before_any_rank_is_known_the_score_is_unknown_and_not_zero(daemon):
    async with Monitor(daemon.endpoints).run_test(size=(120, 40)) as pilot:
        daemon.wait_for_viewer()
        daemon.decode(0)
        line = pilot.app.query_one(ScoreLine)
        await until(pilot, lambda: "run's score unknown" in words_of(line))
        assert "0.00" not in words_of(line)


@in_event_loop
async def test_a_trial_that_unfolds_has_a_clock_beside_the_picture_of_the_last_trial(daemon):
    async with Monitor(daemon.endpoints).run_test(size=(120, 40)) as pilot:
        app = pilot.app
        daemon.wait_for_viewer()
        daemon.heartbeat(sent_s=time.time())
        daemon.decode(8, event=0, since_onset_s=11.0, made_s=time.time())
        daemon.decode(9, "scores", event=1, since_onset_s=4.5, is_final=False, uncertainty=0.6, made_s=time.time() - 2)
        bar = app.query_one(StateBar)
        await until(pilot, lambda: "event 1 6." in words_of(bar))
        live, shown, counters = words_of(bar).splitlines()[0], *words_of(bar).splitlines()[-2:]
        assert "s after onset, provisional" in live
        assert "event 0" in shown
        assert "11.0 s after onset, final" in shown
        assert "preset live-4  engine torch-cpu  weights weights" in counters
        daemon.decode(13, event=1, since_onset_s=11.0, made_s=time.time())
        await until(pilot, lambda: "event 1" in words_of(bar).splitlines()[-2])
        assert "provisional" not in words_of(bar)


@in_event_loop
async def test_a_head_that_moves_is_an_alarm_of_now_and_one_bell_a_run(daemon, monkeypatch):
    rung = []
    monkeypatch.setattr(Monitor, "bell", lambda app: rung.append(1))
    async with Monitor(daemon.endpoints).run_test(size=(120, 40)) as pilot:
        app = pilot.app
        daemon.wait_for_viewer()
        daemon.heartbeat(sent_s=time.time())
        await until(pilot, lambda: app.connection.heartbeat is not None)
        for index, mm, age_s in ((3, 0.9, 3600), (4, 0.1, 0)):
            signal = wire.VolumeSignal(index=index, rois={}, displacement_mm=mm)
            daemon.decode(index, "scores", event=0, made_s=time.time() - age_s, signals=(signal,))
        await until(pilot, lambda: len(app.recent.volumes) and app.recent.volumes[0].index == 4)
        assert not app.query_one("#alarm").display
        signals = (wire.VolumeSignal(index=5, rois={}, displacement_mm=1.26),)
        daemon.decode(5, "scores", event=0, made_s=time.time(), signals=signals)
        await until(pilot, lambda: "volume 5: the head moved 1.3 mm" in words_of(app.query_one("#alarm")))
        assert len(rung) == 1

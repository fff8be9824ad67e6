"""The quality of a run: traces, tSNR, motion, flags and gaps; what is not known is said to be unknown."""

import math

import numpy as np
import pytest
from monitor_screens import in_event_loop, until, words_of

from braind.client import wire
from braind.tui.app import Monitor
from braind.tui.screens.quality import QualityScreen, facts_of
from braind.tui.screens.traces import bars, span
from braind.tui.state.quality import MOST_RUNS, MOST_VOLUMES, Quality, RunQuality

PLACE = (0, "ses", "run-01")


def signal(index, early=1000.0, **fields):
    return wire.VolumeSignal(index=index, rois={"early": early, "ventral": 2 * early}, **fields)


def run_of(signals, *, is_bold=True, **fields):
    return RunQuality(PLACE, is_bold, {one.index: one for one in signals}, **fields)


def fact(run, name):
    return next(value for of, value, _, _ in facts_of(run) if of == name)


def test_tsnr_is_mean_over_standard_deviation_and_drift_is_the_slope_in_percent():
    values = 1000 + np.arange(100) / 10 + np.random.default_rng(0).normal(size=100)
    trace = run_of([signal(index, value) for index, value in enumerate(values)]).trace("early")
    assert trace.tsnr == pytest.approx(values.mean() / values.std(ddof=1))
    assert trace.drift == pytest.approx(1000 / values.mean(), rel=0.1)  # 10 units in 100 volumes, of about 1000
    np.testing.assert_allclose(list(trace.values.values()), 100 * (values / values.mean() - 1))


def test_a_constant_or_empty_roi_and_a_short_run_have_no_tsnr_instead_of_a_wrong_one():
    constant = run_of([signal(index) for index in range(20)])
    assert constant.trace("early").tsnr is None
    assert "early unknown" in fact(constant, "tSNR")
    nothing = run_of([signal(index, 0.0) for index in range(20)]).trace("early")
    assert (nothing.tsnr, nothing.values) == (None, {})
    assert fact(run_of([signal(index, 1000 + index) for index in range(5)]), "tSNR") == "unknown before 10 volumes"


def test_betas_are_no_time_series():
    run = run_of([signal(index, 0.5 + index / 10) for index in range(20)], is_bold=False)
    assert run.trace("early").values[3] == pytest.approx(0.8)
    for name in ("tSNR", "drift", "motion", "spikes", "misaligned", "no signal"):
        assert fact(run, name).startswith("unknown")
    assert fact(run, "signal") == "early +2.40 %, ventral +4.80 %"


def test_missing_and_unknown_volumes_are_told_apart_and_are_no_low_bars():
    run = run_of([signal(index, 1000 + index) for index in (0, 1, 4, 6)], gaps={2: 2})
    assert (run.n_missing, run.n_unknown) == (2, 1)
    values = run.trace("early").values
    assert bars([values.get(index, math.nan) for index in run.newest(10)]) == "▁▂··▆·█"
    assert fact(run, "gaps") == "2 volumes: 2–3"
    assert fact(run, "unknown") == "1 volume"
    assert bars([math.nan] * 3) == "···"
    assert bars([2.0, 2.0]) == "▁▁"
    assert span([math.nan], ".2f", "mm") == "unknown"
    run.signals[2] = signal(2)  # a volume that was missing came after all
    assert (run.n_missing, run.is_missing(2), run.is_missing(3)) == (1, False, True)


def test_a_gap_of_millions_of_volumes_costs_nothing():
    run = run_of([signal(0), signal(2**31 - 1)], gaps={1: 2**31 - 2})
    assert (run.n_missing, run.n_unknown, list(run.newest(2))) == (2**31 - 2, 0, [2**31 - 2, 2**31 - 1])
    assert fact(run, "gaps") == "2,147,483,646 volumes: 1–2147483646"


def decode_of(index, run="run-01", **fields):
    return wire.Decode(
        seq=1, session="ses", run=run, index=index, stage="scores", timings_s={}, event=fields.pop("event", 0),
        provenance=wire.Provenance(
            subject=1, preset="p", mode="zc", seed=1, engine="e", weights="w", ldm="l", simulated=False, version="0"
        ),
        **fields,
    )  # fmt: skip


def test_only_so_many_runs_and_volumes_are_kept():
    quality = Quality()
    for index in range(MOST_VOLUMES + 5):
        quality.take(decode_of(index, signals=(signal(index),)), 0)
    for number in range(2, MOST_RUNS + 1):
        quality.take(decode_of(0, f"run-{number:02}", signals=(signal(0),)), 0)
    runs = quality.newest_first()
    assert (len(runs), len(runs[-1].signals), runs[-1].indices[0]) == (MOST_RUNS, MOST_VOLUMES, 5)
    quality.take(decode_of(0, "another", signals=(signal(0),)), 0)
    assert [run.run for run in quality.newest_first()][-1] == "run-02"


def test_earlier_messages_add_what_was_not_known_and_change_nothing_newer():
    quality = Quality()
    quality.take(decode_of(3, signals=(signal(3, 1.0),), n_without_signal=7), 0)
    older = [
        decode_of(0, "earlier", signals=(signal(0),)),
        decode_of(2, signals=(signal(2, 5.0), signal(3, 9.0)), n_without_signal=1),
        wire.Gap(seq=1, session="ses", run="run-01", index=0, n_missing=2),
    ]
    quality.add_older(older, 0)
    newest, earlier = quality.newest_first()
    assert (newest.run, earlier.run) == ("run-01", "earlier")
    assert {index: one.rois["early"] for index, one in newest.signals.items()} == {2: 5.0, 3: 1.0}
    assert (newest.n_without_signal, newest.n_missing) == (7, 2)


def facts(app):
    return words_of(app.screen.query_one("#quality-facts"))


def traces_of(app):
    return words_of(app.screen.query_one("#quality-traces")).splitlines()


async def open_quality(pilot):
    await pilot.press("y")
    await until(pilot, lambda: isinstance(pilot.app.screen, QualityScreen))


@pytest.mark.parametrize("size", [(60, 15), (80, 24), (140, 50)], ids=["60x15", "80x24", "140x50"])
@in_event_loop
async def test_the_screen_grows_with_the_run_and_fits_the_terminal(daemon, size):
    async with Monitor(daemon.endpoints).run_test(size=size) as pilot:
        app = pilot.app
        daemon.wait_for_viewer()
        await open_quality(pilot)
        assert "no decode has carried a signal yet" in facts(app)
        for index in range(12):
            one = signal(index, 1000 + index % 3, displacement_mm=0.1, is_spike=index == 5)
            daemon.decode(index, "scores", event=0, is_final=False, n_without_signal=4, signals=(one,))
        await until(pilot, lambda: "volumes 0–11" in words_of(app.screen.query_one("#quality-title")))
        # A text that grew has its new height after the next layout.
        await until(pilot, lambda: len(traces_of(app)) == 4)
        traces = traces_of(app)
        assert [row.split()[0] for row in traces] == ["early", "ventral", "motion", "flags"]
        assert "▁▄█▁▄█▁▄█▁▄█" in traces[0]
        assert "S" in traces[3]
        assert all(len(row) <= size[0] for row in traces)
        assert "early" in facts(app)
        daemon.miss(12, 2)
        daemon.decode(14, "scores", event=0, is_final=False, signals=(signal(14, displacement_mm=0.9),))
        await until(pilot, lambda: "volumes 0–14" in words_of(app.screen.query_one("#quality-title")))
        assert "xx" in words_of(app.screen.query_one("#quality-traces")).splitlines()[3]
        run = app.state.quality.newest_first()[0]
        assert fact(run, "motion") == "newest 0.90 mm, largest 0.90 mm, 1 volume above 0.5 mm"
        assert (fact(run, "spikes"), fact(run, "no signal")) == ("1 volume: 5", "4 voxels")
        for _, _, meaning, _ in facts_of(run):
            assert len(meaning) <= 54  # one line at 60 cells


@in_event_loop
async def test_keys_show_older_runs_and_each_is_named(daemon):
    async with Monitor(daemon.endpoints).run_test(size=(100, 40)) as pilot:
        app = pilot.app
        daemon.wait_for_viewer()
        for number in (1, 2):
            daemon.decode(0, "scores", run=f"run-0{number}", event=0, is_final=False, signals=(signal(0),))
        await open_quality(pilot)
        title = lambda: words_of(app.screen.query_one("#quality-title"))  # noqa: E731
        await until(pilot, lambda: "run run-02" in title())
        await pilot.press("right")
        await until(pilot, lambda: "run run-01" in title() and "held" in title())
        daemon.decode(0, "scores", run="run-03", event=0, is_final=False, signals=(signal(0),))
        await until(pilot, lambda: "3 runs" in title())
        assert "run run-01" in title()
        await pilot.press("left", "left")
        await until(pilot, lambda: "run run-03" in title() and "held" not in title())
        await pilot.press("right", "f")
        await until(pilot, lambda: "run run-03" in title())


@in_event_loop
async def test_who_joins_late_sees_the_runs_earlier_volumes(daemon, monkeypatch):
    monkeypatch.setattr("braind.tui.app.N_HISTORY", 3)
    for index in range(12):
        daemon.decode(index, "scores", event=0, is_final=False, signals=(signal(index, 1000 + index),))
    async with Monitor(daemon.endpoints).run_test(size=(100, 40)) as pilot:
        app = pilot.app
        daemon.wait_for_viewer()
        daemon.heartbeat()
        await until(pilot, lambda: app.state.quality.version)
        await open_quality(pilot)
        await until(pilot, lambda: "volumes 0–11" in words_of(app.screen.query_one("#quality-title")))
        await until(pilot, lambda: "fetching" not in words_of(app.screen.query_one("#quality-title")))


@in_event_loop
async def test_an_earlier_daemon_sends_no_signals_and_they_are_unknown(daemon):
    async with Monitor(daemon.endpoints).run_test(size=(100, 40)) as pilot:
        daemon.wait_for_viewer()
        daemon.decode(3, "scores", event=0, is_final=False, n_without_signal=2)
        await until(pilot, lambda: pilot.app.state.quality.version)
        await open_quality(pilot)
        await until(pilot, lambda: "signal      unknown" in facts(pilot.app))
        assert "2 voxels" in facts(pilot.app)

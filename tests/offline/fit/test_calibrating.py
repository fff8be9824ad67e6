"""A calibration that is followed: a fit after every run that ends, whatever session it is of."""

import time
from pathlib import Path
from types import SimpleNamespace

from journal_files import add_volume, journal_of
from running_daemon import hello

from braind.client import wire
from braind.daemon.journal.journal import Journal
from braind.offline.fit.calibrate import follow_calibration

TOLD = wire.Calibration(session="s", n_trials=2, n_pictures=2, minutes=1.0, two_way=0.7, low=0.6, high=0.8)


def record(folder, session, n_runs):
    """Journal runs that ended; return the path."""
    path = folder / f"{session}.sqlite3"
    journal = Journal(path, wait_for_disk=False)
    for run in map(str, range(n_runs)):
        journal.open_run(hello(session=session, run=run), "0123456789abcdef")
        journal.end_run(wire.EndRun(session=session, run=run, n_volumes=0), has_estimates=False)
    journal.close()
    return path


def test_a_new_session_is_fitted_from_its_first_run_on(tmp_path):
    journals = [record(tmp_path, "long", 2), record(tmp_path, "long", 0), record(tmp_path, "new", 1)]
    at_hand, fitted = iter(journals), []
    control = SimpleNamespace(status=lambda: SimpleNamespace(journal=str(next(at_hand))), tell=lambda _: None)
    subscriber = SimpleNamespace(receive=lambda timeout_s: None)

    def fit(paths):
        fitted.append([path.name for path in paths])
        return Path("weights.safetensors"), TOLD

    rounds = iter([False, False, False, True])
    follow_calibration(SimpleNamespace(fit=fit), [], control, subscriber, lambda _: None, lambda: next(rounds))
    # the same runs, asked about again, are not fitted again
    assert fitted == [["long.sqlite3"], ["new.sqlite3"]]


def test_a_run_that_broke_off_is_fitted_after_a_minute_without_a_volume(tmp_path, monkeypatch):
    """And again when it goes on, and ends with more volumes."""
    journal = journal_of(tmp_path / "ses.sqlite3", n_volumes=2)
    now_s, fitted = time.time(), []
    monkeypatch.setattr("braind.offline.fit.calibrate.time", SimpleNamespace(time=lambda: now_s))

    def later(seconds):
        nonlocal now_s
        now_s += seconds

    def go_on():
        add_volume(journal, 2)
        later(-62.0)

    def end():
        journal.end_run(wire.EndRun(session="ses", run="run-01", n_volumes=3), has_estimates=False)

    rounds = iter([lambda: None, lambda: later(59.0), lambda: later(3.0), lambda: None, go_on, end, lambda: None])
    n_fitted = []

    def is_stopped():
        n_fitted.append(len(fitted))
        step = next(rounds, None)
        if step is not None:
            step()
        return step is None

    control = SimpleNamespace(
        status=lambda: SimpleNamespace(journal=str(tmp_path / "ses.sqlite3")), tell=lambda _: None
    )
    subscriber = SimpleNamespace(receive=lambda timeout_s: None)

    def fit(paths):
        fitted.append([path.name for path in paths])
        return Path("weights.safetensors"), TOLD

    follow_calibration(SimpleNamespace(fit=fit), [], control, subscriber, lambda _: None, is_stopped)
    journal.close()
    assert n_fitted == [0, 0, 0, 1, 1, 1, 2, 2]

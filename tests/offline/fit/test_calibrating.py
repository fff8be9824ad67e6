"""A calibration that is followed: a fit after every run that ends, whatever session it is of."""

from pathlib import Path
from types import SimpleNamespace

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

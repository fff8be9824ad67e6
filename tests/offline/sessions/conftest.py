"""A data folder with a real daemon's session: a run of betas with a gap, and a BOLD run; nothing waits."""

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from running_daemon import PNG, SHAPE, RunningDaemon, hello, volume_frames

from braind.cli import main
from braind.client import wire

BETAS = (0, 1, 3)
N_BOLD = 14
TR_S = 2.0
TRIALS = ((0, 2.0), (1, 6.0), (2, 22.0))


def bold(index):
    noise = np.random.default_rng(index).normal(scale=3, size=SHAPE)
    return (1000 + noise).astype(np.float32)


@pytest.fixture(scope="session")
def recorded(files, tmp_path_factory) -> Path:
    """Return a data folder; not for writing into."""
    folder = tmp_path_factory.mktemp("recorded")
    daemon = RunningDaemon(files, folder, decode={"preset": "live-1", "refine": "live-2"}).start()
    try:
        with daemon.connect("ingest") as scanner, daemon.watch() as viewer:
            scanner.ask(hello(run="betas"))
            for index in BETAS:
                seen = {"seen_png": PNG, "stimulus": "a\tpicture"} if index == 1 else {}
                frames = volume_frames(index, run="betas", trial=10 + index, nsd_id=100 + index, **seen)
                assert isinstance(scanner.ask_frames(frames), wire.Ack)
            scanner.ask(wire.EndRun(session="ses", run="betas", n_volumes=4))
            viewer.until(lambda message: (message.index, message.stage) == (BETAS[-1], "refined"))
            scanner.ask(hello(run="bold", kind="bold", tr_s=TR_S, dtype="float32"))
            for event, onset_s in TRIALS:
                scanner.ask(wire.Event(session="ses", run="bold", event=event, onset_s=onset_s, duration_s=2.0))
            for index in range(N_BOLD):
                frames = volume_frames(index, stored=bold(index), run="bold", scale=1.0)
                assert isinstance(scanner.ask_frames(frames), wire.Ack)
            scanner.ask(wire.EndRun(session="ses", run="bold", n_volumes=N_BOLD))
            viewer.until(lambda message: (message.event, message.stage) == (TRIALS[-1][0], "refined"))
        daemon.wait_until(lambda status: status.n_waiting == 0)
        assert daemon.stop() == 0
    finally:
        daemon.close()
    (folder / "weights").mkdir()
    shutil.copy(files.weights_path, folder / "weights/subj01.safetensors")
    return folder


@pytest.fixture
def data(recorded, tmp_path) -> Path:
    """Return a copy of the data folder."""
    return Path(shutil.copytree(recorded, tmp_path / "data"))


@pytest.fixture
def braind(tmp_path, monkeypatch):
    """Run `braind sessions`, with settings of its own."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))

    def run(*arguments):
        return CliRunner().invoke(main, ["sessions", *map(str, arguments)], prog_name="braind")

    return run


def change(data, statement, *values):
    """Change the session's journal with a statement of SQL."""
    with closing(sqlite3.connect(data / "journals/ses.sqlite3")) as journal, journal:
        assert journal.execute(statement, values).rowcount == 1

"""A session that a real daemon recorded and decoded: a run of betas with a gap, and a BOLD run; nothing waits."""

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from running_daemon import PNG, SHAPE, Files, RunningDaemon, hello, volume_frames

from braind.client import wire
from braind.daemon.journal.checksums import COVERED, made, row_checksum

BETAS = (0, 1, 3)
N_BOLD = 14
TR_S = 2.0
TRIALS = ((0, 2.0), (1, 6.0), (2, 22.0))
"""Onsets of the BOLD run; the last trial's estimate is final only at the run's end."""


def bold(index: int) -> Any:
    """Return a BOLD volume, (X, Y, Z) float32, different for each index."""
    noise = np.random.default_rng(index).normal(scale=3, size=SHAPE)
    return (1000 + noise).astype(np.float32)


def record_session(files: Files, folder: Path) -> None:
    """Fill a data folder with the session `ses` and the weights that decoded it."""
    daemon = RunningDaemon(files, folder, decode={"preset": "live-1", "refine": "live-2"}).start()
    try:
        with daemon.connect("ingest") as scanner, daemon.watch() as viewer:
            scanner.ask(hello(run="betas"))
            for index in BETAS:
                seen = {"seen_png": PNG, "stimulus": "a\tpicture", "label": "a\tclass"} if index == 1 else {}
                frames = volume_frames(index, run="betas", trial=10 + index, nsd_id=100 + index, **seen)
                assert isinstance(scanner.ask_frames(frames), wire.Ack)
            scanner.ask(wire.EndRun(session="ses", run="betas", n_volumes=4))
            viewer.until(lambda message: (message.index, getattr(message, "stage", "")) == (BETAS[-1], "refined"))
            scanner.ask(hello(run="bold", kind="bold", tr_s=TR_S, dtype="float32"))
            for event, onset_s in TRIALS:
                label = "house" if event == 1 else None
                onset = wire.Event(session="ses", run="bold", event=event, onset_s=onset_s, duration_s=2.0, label=label)
                scanner.ask(onset)
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


def change(data: Path, statement: str, *values: Any) -> None:
    """Change one row of the session's journal with a statement of SQL, as a program that journals something else."""
    with closing(sqlite3.connect(data / "journals/ses.sqlite3")) as journal, journal:
        assert journal.execute(statement, values).rowcount == 1
        seal(journal)


def seal(journal: sqlite3.Connection) -> None:
    """Give every row its checksum again."""
    journal.create_function("row_checksum", -1, row_checksum)
    for table in COVERED:
        journal.execute(f"UPDATE {table} SET checksum = {made(table)}")


def change_message(data: Path, seq: int, edit: Any) -> None:
    """Change a journaled message for the viewers: `edit` gets and changes its fields."""
    with closing(sqlite3.connect(data / "journals/ses.sqlite3")) as journal, journal:
        (header,) = journal.execute("SELECT header FROM decodes WHERE seq = ?", (seq,)).fetchone()
        fields = msgspec.json.decode(header)
        edit(fields)
        journal.execute("UPDATE decodes SET header = ? WHERE seq = ?", (msgspec.json.encode(fields), seq))
        seal(journal)

"""Journals with decodes in them, made without a daemon: real files, which take milliseconds."""

import sqlite3
from contextlib import closing
from io import BytesIO
from pathlib import Path

import msgspec
import numpy as np
from PIL import Image
from running_daemon import hello

from braind.client import wire
from braind.daemon.journal.journal import Journal

PROVENANCE = wire.Provenance(
    subject=1, preset="live-4", mode="zc", seed=42, engine="torch-cpu", weights="weights", ldm="ldm", simulated=True,
    version="0",
)  # fmt: skip


def png_of(*rgb: int) -> bytes:
    """Return a PNG of one colour."""
    content = BytesIO()
    Image.fromarray(np.full((8, 8, 3), rgb, np.uint8)).save(content, "PNG")
    return content.getvalue()


def journal_decodes(path: Path, n_trials: int, *, first_seq: int = 1, ends_skipped: bool = False) -> None:
    """Make a session's journal: a gap, then so many decoded betas; trial `n` has pictures of grey `n`."""
    journal, seq = Journal(path, wait_for_disk=False), first_seq
    journal.open_run(hello(session=path.stem), "weights")
    journal.add_decode(wire.Gap(seq=seq, session=path.stem, run="run-01", index=n_trials, n_missing=2))
    for index in range(n_trials):
        header = wire.Volume(session=path.stem, run="run-01", index=index, shape=(1, 1, 5), dtype="float32", crc32=1)
        journal.add_volume(header, np.zeros(5, np.float32), seen=None, whole=None, state="decoded")
        for stage in ("scores", "xz", "xzc"):
            seq += 1
            message = wire.Decode(
                seq=seq, session=path.stem, run="run-01", index=index, stage=stage, provenance=PROVENANCE,
                timings_s={stage: 0.1}, trial=100 + index, made_s=1.7e9 + index,
                retrieved=(wire.Retrieved(label=f"picture {index}", score=0.5),) if stage == "scores" else (),
            )  # fmt: skip
            journal.add_decode(message, None if stage == "scores" else png_of(index % 256, index % 256, index % 256))
    if ends_skipped:
        reason = "a newer volume was waiting"
        skipped = wire.Skipped(seq=seq + 1, session=path.stem, run="run-01", index=n_trials, reason=reason)
        journal.add_decode(skipped)
    journal.end_run(wire.EndRun(session=path.stem, run="run-01", n_volumes=n_trials + 2), has_estimates=False)
    journal.close()


def spoil_message(path: Path, seq: int) -> None:
    """Change a byte of a message, so that the message does not match its checksum any more."""
    with closing(sqlite3.connect(path)) as journal, journal:
        (header,) = journal.execute("SELECT header FROM decodes WHERE seq = ?", (seq,)).fetchone()
        fields = msgspec.json.decode(header)
        changed = msgspec.json.encode(fields | {"index": 99})
        assert journal.execute("UPDATE decodes SET header = ? WHERE seq = ?", (changed, seq)).rowcount == 1

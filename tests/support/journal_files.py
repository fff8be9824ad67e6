"""Journals for tests: filled, damaged, and held open by a process of their own."""

import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any, Self

import numpy as np
from running_daemon import hello

from braind.client import wire
from braind.daemon.journal.journal import Journal

PAGE_BYTES = 4096


def add_volume(journal: Journal, index: int, run: str = "run-01") -> None:
    header = wire.Volume(session="ses", run=run, index=index, shape=(1, 1, 5), dtype="float32", crc32=index)
    journal.add_volume(header, np.arange(5, dtype=np.float32) + index, seen=None, whole=None)


def journal_of(path: Path, n_volumes: int = 50, **fields: Any) -> Journal:
    """Return a session's journal with one run of volumes that wait."""
    journal = Journal(path, wait_for_disk=False)
    journal.open_run(hello(session=path.stem, **fields), "weights")
    for index in range(n_volumes):
        add_volume(journal, index)
    return journal


def without_checksums(path: Path) -> None:
    """Make a closed journal one of schema 1, as braind wrote before rows had checksums."""
    database = sqlite3.connect(path)
    with database:
        for (table,) in database.execute("SELECT name FROM sqlite_schema WHERE sql LIKE '%checksum%'").fetchall():
            database.execute(f"ALTER TABLE {table} DROP COLUMN checksum")
        database.execute("PRAGMA user_version = 1")
    database.close()


def damage(path: Path, from_page: int = 1) -> None:
    """Overwrite all pages of a closed journal but the first ones."""
    content = bytearray(path.read_bytes())
    content[from_page * PAGE_BYTES :] = b"\xff" * (len(content) - from_page * PAGE_BYTES)
    path.write_bytes(content)


def snapshot(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Return the times and bytes of a folder and its files."""
    return {
        str(path.relative_to(folder)): (path.stat().st_mtime_ns, path.read_bytes() if path.is_file() else b"")
        for path in (folder, *sorted(folder.iterdir()))
    }


class Writer:
    """A process that has a session's journal open, as a daemon has."""

    CODE = """
import os, sys
from pathlib import Path
from journal_files import add_volume, journal_of
journal = journal_of(Path(sys.argv[1]), n_volumes=3)
for line in sys.stdin:
    match line.split():
        case ["add", index]:
            add_volume(journal, int(index))
        case ["die"]:
            os._exit(0)
        case ["close"]:
            journal.close()
            sys.exit()
    print("done", flush=True)
"""

    def __init__(self, path: Path) -> None:
        code = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n{self.CODE}"
        self._process = subprocess.Popen(
            [sys.executable, "-c", code, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def add(self, index: int) -> None:
        """Commit a volume; return once it is."""
        self._say(f"add {index}")
        assert self._process.stdout
        assert self._process.stdout.readline() == "done\n"

    def end(self, how: str) -> None:
        """Let it `close` the journal, or `die` and leave the write-ahead log."""
        self._say(how)
        assert self._process.wait(60) == 0

    def _say(self, line: str) -> None:
        assert self._process.stdin
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()

    def __enter__(self) -> Self:
        try:
            self.add(3)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe
            pipe.close()

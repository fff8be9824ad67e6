"""Checksums of the journal's rows: SQL expressions that make a row's checksum, and that compare it with the row."""

from typing import Any
from zlib import crc32

# The columns that a row's checksum covers. The state of a volume and of a run's end change often and are words: a
# damaged word is none of the known words. The number of crashes is only a count.
COVERED = {
    "runs": ("run", "hello", "weights", "n_volumes", "opened_unix_s"),
    "volumes": ("arrival", "run", "volume_index", "crc32", "header", "arrived_unix_s"),
    "voxels": ("arrival", "masked", "whole", "seen"),
    "events": ("run", "event", "after_arrival", "header", "seen"),
    "decodes": ("seq", "run", "volume_index", "event", "stage", "header", "payload"),
    "masks": ("weights", "voxel_index"),
}
COVERED_LATER = {"marks": ("mark", "header")}
"""Tables that a journal gets when they are needed."""


def made(table: str) -> str:
    """Return the SQL expression of a row's checksum."""
    return f"row_checksum({', '.join(f'{table}.{column}' for column in (COVERED | COVERED_LATER)[table])})"


def is_right(table: str) -> str:
    """Return the SQL expression that is 1 if a row has its checksum, else 0."""
    return f"({table}.checksum IS {made(table)})"


def row_checksum(*values: Any) -> int:
    """Return the CRC-32 of a row's values. SQLite calls this function."""
    checksum = 0
    for value in values:
        content = value if isinstance(value, bytes) else repr(value).encode("utf-8", "backslashreplace")
        checksum = crc32(content, crc32(b"%d:" % len(content), checksum))
    return checksum

"""Commits in a write-ahead log that SQLite cannot read, because a frame before them is damaged.

SQLite drops all frames from the first damaged frame on, without a word. A process that was killed leaves no such
frames: a disk that changed a bit does, and so may a power cut. Format: sqlite.org/fileformat2.html, section 4.
"""

import struct
from pathlib import Path
from typing import BinaryIO

_HEADER_BYTES = 32
_FRAME_HEADER_BYTES = 24
_PAGE_BYTES = 4096
"""SQLite's default, which journals have."""


def committed_frames(log_path: Path) -> list[int]:
    """Return the numbers, from 1, of the frames of the newest log that end a commit."""
    try:
        with log_path.open("rb") as log:
            return _committed_frames(log, log_path.stat().st_size)
    except FileNotFoundError:
        return []


def _committed_frames(log: BinaryIO, n_bytes: int) -> list[int]:
    start = log.read(_HEADER_BYTES + _FRAME_HEADER_BYTES)
    if len(start) < _HEADER_BYTES + _FRAME_HEADER_BYTES:
        return []
    *_, page_bytes, _, salt_1, salt_2 = struct.unpack(">6I", start[:24])
    if not _has_right_header(start):
        page_bytes = _PAGE_BYTES
        salt_1, salt_2 = struct.unpack(">2I", start[_HEADER_BYTES + 8 : _HEADER_BYTES + 16])
    frame_bytes = _FRAME_HEADER_BYTES + page_bytes
    found = []
    for number, at in enumerate(range(_HEADER_BYTES, n_bytes - frame_bytes + 1, frame_bytes), 1):
        # A page has kilobytes, and its frame's header tells all: the pages are not read.
        log.seek(at)
        header = log.read(16)
        if len(header) < 16:  # the log was truncated meanwhile
            break
        _, n_pages_after_commit, *salts = struct.unpack(">4I", header)
        # Frames with other salts were left by an earlier log.
        if n_pages_after_commit and salts == [salt_1, salt_2]:
            found.append(number)
    return found


def _has_right_header(content: bytes) -> bool:
    (magic,) = struct.unpack(">I", content[:4])
    order = ">" if magic & 1 else "<"
    sum_1 = sum_2 = 0
    for word_1, word_2 in struct.iter_unpack(f"{order}2I", content[:24]):
        sum_1 = (sum_1 + word_1 + sum_2) % 2**32
        sum_2 = (sum_2 + word_2 + sum_1) % 2**32
    return (sum_1, sum_2) == struct.unpack(">2I", content[24:_HEADER_BYTES])

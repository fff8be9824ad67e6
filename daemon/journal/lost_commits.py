"""Commits in a write-ahead log that SQLite cannot read, because a frame before them is damaged.

SQLite drops all frames from the first damaged frame on, without a word. A process that was killed leaves no such
frames: a disk that changed a bit does, and so may a power cut. Format: sqlite.org/fileformat2.html, section 4.
"""

import struct
from pathlib import Path

_HEADER_BYTES = 32
_FRAME_HEADER_BYTES = 24
_PAGE_BYTES = 4096
"""SQLite's default, which journals have."""


def committed_frames(log_path: Path) -> list[int]:
    """Return the numbers, from 1, of the frames of the newest log that end a commit."""
    try:
        content = log_path.read_bytes()
    except FileNotFoundError:
        return []
    if len(content) < _HEADER_BYTES + _FRAME_HEADER_BYTES:
        return []
    *_, page_bytes, _, salt_1, salt_2 = struct.unpack(">6I", content[:24])
    if not _has_right_header(content):
        page_bytes = _PAGE_BYTES
        salt_1, salt_2 = struct.unpack(">2I", content[_HEADER_BYTES + 8 : _HEADER_BYTES + 16])
    frame_bytes = _FRAME_HEADER_BYTES + page_bytes
    found = []
    for number, start in enumerate(range(_HEADER_BYTES, len(content) - frame_bytes + 1, frame_bytes), 1):
        _, n_pages_after_commit, *salts = struct.unpack(">4I", content[start : start + 16])
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

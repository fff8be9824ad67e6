"""The checksum of compressed image files."""

import gzip
from pathlib import Path

CHUNK_BYTES = 1 << 20


def check_compressed(path: Path) -> None:
    """Read a `.gz` file to its end, where gzip checks its CRC; leave other files alone.

    nibabel stops after the last voxel, before the CRC. Without this check a damaged bit gives other numbers.

    Raises
    ------
    OSError, EOFError, zlib.error
        If the file is damaged, cut short or not gzip.
    """
    if path.suffix != ".gz":
        return
    with gzip.open(path) as file:
        while file.read(CHUNK_BYTES):
            pass

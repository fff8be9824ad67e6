"""Files that are written whole or not at all."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

FULL = errno.ENOSPC, errno.EDQUOT
"""A full disk, and a user's full share of it."""


@contextmanager
def write_whole(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; it becomes `path` when the block ends.

    A reader sees the old file or the new one, never a part. If the block or the renaming raises, the temporary file is
    deleted and `path` stays as it was. Missing parent folders are made.

    Raises
    ------
    OSError
        If the folder cannot be made or the file cannot be written. A full disk names the file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished_path = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        yield unfinished_path
        unfinished_path.replace(path)
    except BaseException as error:
        unfinished_path.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno in FULL and error.filename is None:
            error.filename = str(path)  # A write, unlike an opening, does not say which file.
        raise


def write_on_disk(path: Path, content: bytes, *, mode: int = 0o666) -> None:
    """Write a file whole, and wait until the disk has it and its name.

    Raises
    ------
    OSError
        If the file cannot be written. An earlier file stays as it was.
    """
    with write_whole(path) as unfinished_path:
        descriptor = os.open(unfinished_path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
        with open(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    if os.name == "posix":
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

"""Whether a file's content has arrived.

Some copies reserve a file's whole length first and fill it afterwards. Its size and time then say nothing. The parts
that are still missing are runs of zeros.
"""

from pathlib import Path

import numpy as np

BLOCK_BYTES = 4096
"""File systems and shares reserve pages of this size."""
SHORTEST_TAIL_BYTES = 64


def n_blank_blocks(path: Path) -> int:
    """Return the number of blocks that hold only zeros. A last, shorter block counts too.

    Raises
    ------
    OSError
        The file cannot be read.
    """
    content = np.fromfile(path, np.uint8)
    n_whole = len(content) // BLOCK_BYTES
    blocks = content[: n_whole * BLOCK_BYTES].reshape(n_whole, BLOCK_BYTES)
    tail = content[-SHORTEST_TAIL_BYTES:]
    n_blank = int((~blocks.any(axis=1)).sum())
    return n_blank + int(len(tail) == SHORTEST_TAIL_BYTES and not tail.any())

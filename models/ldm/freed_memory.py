"""Freed memory is kept for the next array.

glibc asks the kernel for every array above some megabytes anew and gives it back when freed, and the kernel clears it
page by page: half of the time of a convolution on a CPU goes there.
"""

import ctypes
import platform

# of glibc's malloc.h
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3

LARGEST_KEPT_BYTES = 256 << 20
"""Larger arrays, as a fit has, are rare enough to go back to the system at once."""
KEPT_BYTES = 512 << 20


def keep_freed_memory() -> None:
    """Let this process keep up to `KEPT_BYTES` of what it frees; does nothing where there is no glibc."""
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        libc.mallopt(M_MMAP_THRESHOLD, LARGEST_KEPT_BYTES)
        libc.mallopt(M_TRIM_THRESHOLD, KEPT_BYTES)

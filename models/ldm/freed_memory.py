"""Keeps freed memory in the process, for the next array.

glibc returns the memory of large arrays to the kernel and requests it again for the next array. The kernel then clears
every page: this takes half of a convolution's time on a CPU.
"""

import ctypes
import platform

# constants of glibc's malloc.h
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3

LARGEST_KEPT_BYTES = 256 << 20
"""Larger arrays, as in a fit, are rare and go back to the system."""
KEPT_BYTES = 512 << 20


def keep_freed_memory() -> None:
    """Let the whole process keep up to `KEPT_BYTES` of freed memory; without glibc, do nothing."""
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        libc.mallopt(M_MMAP_THRESHOLD, LARGEST_KEPT_BYTES)
        libc.mallopt(M_TRIM_THRESHOLD, KEPT_BYTES)

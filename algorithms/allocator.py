"""Keeps freed memory for the next step, where the C library would give it back to the system."""

from __future__ import annotations

import ctypes
import platform

GLIBC = platform.libc_ver()[0] == "glibc"
# Parameters of glibc's mallopt.
TRIM_THRESHOLD, TOP_PAD, MMAP_MAX = -1, -2, -4
NEVER, AHEAD = 2**31 - 1, 8 << 20


def keep_freed_memory() -> bool:
    """Make this process keep what it frees; return whether that could be arranged (glibc only).

    Every step of a training takes and frees the same large blocks. By default glibc maps and unmaps
    each of them, and the system fills them with zeros page by page: for second-order meta-gradients
    of small convolutions on a CPU that takes as long as the arithmetic (`python -m
    benchmarks.engine --allocator default` shows it).
    """
    if not GLIBC:
        return False
    library = ctypes.CDLL(None)
    settings = ((MMAP_MAX, 0), (TRIM_THRESHOLD, NEVER), (TOP_PAD, AHEAD))
    return all(library.mallopt(name, value) == 1 for name, value in settings)


def give_back_freed_memory() -> None:
    """Give the system what is free now, so that the next trial's peak is its own (glibc only)."""
    if GLIBC:
        ctypes.CDLL(None).malloc_trim(0)

"""How many bits the numbers of a file need."""

from __future__ import annotations

import numpy as np

ROUNDING = 1e-12
"""Entries that vary by less, against their mean, vary by the rounding of 64-bit numbers alone."""

_LOSS = 1e-5
_BLOCK = 1 << 20


def as_floats(values: np.ndarray) -> np.ndarray:
    """Return numbers (N, ..., F) as float32, or as float64 where 32 bits blur an entry.

    An entry of the last axis is blurred where rounding moves one of its values by more than 1e-5
    of their deviation, as times in seconds since 1970 are. Entries that are not are rounded to 32
    bits all the same. Numbers beyond the range of 32 bits become infinite.
    """
    with np.errstate(over="ignore"):
        single = values.astype(np.float32)
    if values.dtype.itemsize < 4 or values.dtype == np.float32:
        return single
    blurred = _blurred(values, single)
    if not blurred.any():
        return single
    double = single.astype(np.float64)
    double[..., blurred] = values[..., blurred]
    return double


def _blurred(values: np.ndarray, single: np.ndarray) -> np.ndarray:
    """Return whether each entry of the last axis needs more than 32 bits, (F,)."""
    entries = values.shape[-1]
    blurred = np.zeros(entries, dtype=bool)
    step = max(1, _BLOCK * entries // max(values.size, 1))
    for first in range(0, entries, step):
        part = (..., slice(first, first + step))
        exact = values[part].astype(np.float64).reshape(-1, blurred[first : first + step].size)
        rounded = single[part].reshape(exact.shape)
        # What is not finite is refused by whoever asked.
        if not len(exact) or not np.isfinite(rounded).all():
            continue
        mean, deviation = exact.mean(axis=0), exact.std(axis=0)
        moved = np.abs(exact - rounded).max(axis=0)
        varies = deviation > ROUNDING * np.abs(mean)
        blurred[first : first + step] = varies & (moved > _LOSS * deviation)
    return blurred

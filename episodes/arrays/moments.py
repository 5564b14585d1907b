"""Means and deviations of meta-train's rows, by which all examples are scaled."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from episodes.arrays.precision import ROUNDING

_SINGLE_ROUNDING = 1e-6
_BLOCK = 1 << 16


@dataclass(frozen=True)
class Moments:
    """Of each entry of the last axis: (F,) float64. A constant entry has the deviation 1."""

    mean: np.ndarray
    deviation: np.ndarray

    def scaled(self, values: np.ndarray) -> np.ndarray:
        """Return values (..., F) in deviations from the mean, as float32."""
        return ((values - self.mean) / self.deviation).astype(np.float32)


def moments(array: np.ndarray, rows: np.ndarray) -> Moments:
    """Return the moments over some rows of an array (N, ..., F) and all axes but the last.

    Twice through the rows, in blocks: they may be more than fit into memory, and the second time
    differences from the mean are squared, which loses no digits.
    """
    blocks = [rows[start : start + _BLOCK] for start in range(0, len(rows), _BLOCK)]
    entries = array.shape[-1]
    inner = int(np.prod(array.shape[1:-1]))
    count = len(rows) * inner

    def values_of(block: np.ndarray) -> np.ndarray:
        return array[block].reshape(len(block) * inner, entries).astype(np.float64)

    def mean_of(function: np.ufunc, shift: np.ndarray) -> np.ndarray:
        total = np.zeros(entries)
        for block in blocks:
            total += function(values_of(block) - shift).sum(axis=0)
        return total / max(count, 1)

    mean = mean_of(np.positive, np.zeros(entries))
    deviation = np.sqrt(mean_of(np.square, mean))
    single = np.ones(entries, dtype=bool)
    for block in blocks if array.dtype == np.float64 else ():
        values = values_of(block)
        single &= (values == values.astype(np.float32)).all(axis=0)
    # What is constant but for rounding, of as many bits as there are, would be blown up.
    rounding = np.where(single, _SINGLE_ROUNDING, ROUNDING)
    constant = deviation <= rounding * np.abs(mean)
    return Moments(mean, np.where(constant, 1.0, deviation))

"""What the tasks that draw functions of one number share."""

from __future__ import annotations

import numpy as np
import torch

from episodes.episode import Episodes, Examples


def between(draws: np.ndarray, bounds: tuple[float, float]) -> np.ndarray:
    """Spread numbers in [0, 1) evenly over an interval."""
    low, high = bounds
    return low + (high - low) * draws


def episodes_of(x: np.ndarray, y: np.ndarray, shots: int, index: np.ndarray) -> Episodes:
    """Return episodes of functions: the first `shots` points are support, the others query.

    x, y: (T, N) floats. index: (T,) int64, kept as it is. Inputs and targets are float32.
    """
    return Episodes(
        support=_examples(x[:, :shots], y[:, :shots]),
        query=_examples(x[:, shots:], y[:, shots:]),
        classes=torch.empty((len(index), 0), dtype=torch.int64),
        index=torch.from_numpy(index),
    )


def _examples(x: np.ndarray, y: np.ndarray) -> Examples:
    inputs, targets = (
        torch.from_numpy(np.ascontiguousarray(a, dtype=np.float32))[..., None] for a in (x, y)
    )
    return Examples(inputs, targets)

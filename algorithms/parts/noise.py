"""Random numbers that depend on an episode's key and nothing else.

Counter-based (Salmon et al. 2011): number i of an episode is a hash of (key, i). So it does not
matter how a batch is cut or ordered, on which device it runs, or where a trial was interrupted.
"""

from __future__ import annotations

import torch
from torch import Tensor

# The finalizer of splitmix64 (Steele, Lea and Flood 2014), in wrapping int64 arithmetic.
GOLDEN = -7046029254386353131
MULTIPLIERS = (-4658895280553007687, -7723592293110705685)
SHIFTS = (30, 27, 31)


def keys_of(seed: int, index: Tensor) -> Tensor:
    """Return a key for each episode, (T,) int64, from a seed and the episodes' indices."""
    return _mixed(index + _mixed(torch.full_like(index, seed)))


def uniform(keys: Tensor, stream: int, count: int) -> Tensor:
    """Draw (T, count) float64 numbers from the open interval (0, 1).

    stream: tells several draws of one episode apart.
    """
    counter = torch.arange(count, device=keys.device) + (stream << 32)
    bits = _mixed(_mixed(keys).unsqueeze(1) + counter)
    return (_right(bits, 12).double() + 0.5) * 2.0**-52


def logistic(keys: Tensor, stream: int, count: int) -> Tensor:
    """Draw (T, count) float64 numbers from the standard logistic distribution."""
    drawn = uniform(keys, stream, count)
    return torch.log(drawn) - torch.log1p(-drawn)


def _mixed(value: Tensor) -> Tensor:
    value = value + GOLDEN
    for shift, multiplier in zip(SHIFTS, MULTIPLIERS, strict=False):
        value = (value ^ _right(value, shift)) * multiplier
    return value ^ _right(value, SHIFTS[-1])


def _right(value: Tensor, bits: int) -> Tensor:
    """Shift right and fill with zeros; torch's own shift of int64 fills with the sign."""
    return (value >> bits) & ((1 << (64 - bits)) - 1)

"""Counter-based random numbers over Python's integers."""

from __future__ import annotations

import math

WORD = (1 << 64) - 1


def splitmix64(state: int) -> int:
    """Return the first number of splitmix64 from this state (Steele, Lea and Flood 2014)."""
    z = (state + 0x9E3779B97F4A7C15) & WORD
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & WORD
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & WORD
    return z ^ (z >> 31)


def key(seed: int, index: int) -> int:
    """Return an episode's key, without sign."""
    return splitmix64((index + splitmix64(seed & WORD)) & WORD)


def uniform(key: int, stream: int, count: int) -> list[float]:
    start = splitmix64(key)
    numbers = [splitmix64((start + (stream << 32) + i) & WORD) for i in range(count)]
    return [((number >> 12) + 0.5) / 2**52 for number in numbers]


def logistic(key: int, stream: int, count: int) -> list[float]:
    return [math.log(u / (1 - u)) for u in uniform(key, stream, count)]

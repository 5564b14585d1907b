"""Random numbers that depend only on a key and a position, drawn for many episodes at once.

Philox4x32-10 of Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3",
doi:10.1145/2063384.2063405. It has no state to advance: the counter names the position, so episode
one million costs as much as episode zero, and a batch equals its episodes drawn one by one.
"""

from __future__ import annotations

import hashlib

import numpy as np

Key = tuple[int, int]

_ROUNDS = 10
_MULTIPLIERS = np.array([0xD2511F53, 0xCD9E8D57], dtype=np.uint64)
_KEY_STEPS = (0x9E3779B9, 0xBB67AE85)
_MASK = 0xFFFFFFFF
_LOW = np.uint64(_MASK)
_HALF = np.uint64(32)


def philox4x32(counter: tuple[np.ndarray, ...], key: Key) -> tuple[np.ndarray, ...]:
    """Apply the ten rounds of Philox4x32.

    counter: four uint64 arrays that broadcast together, each value below 2**32.
    key: two integers below 2**32.
    Returns four uint64 arrays of the broadcast shape, each value below 2**32.
    """
    c0, c1, c2, c3 = counter
    shape = np.broadcast_shapes(*(each.shape for each in counter))
    # Both halves of a round in one call each, in memory that is kept: calls are what takes long.
    factors, others, products = (np.empty((2, *shape), dtype=np.uint64) for _ in range(3))
    factors[0], factors[1], others[0], others[1] = c0, c2, c1, c3
    along = (2, *[1] * len(shape))
    multipliers, crossed = _MULTIPLIERS.reshape(along), products[::-1]
    for round_key in _round_keys(key):
        np.multiply(factors, multipliers, out=products)
        np.right_shift(crossed, _HALF, out=factors)
        np.bitwise_xor(factors, others, out=factors)
        np.bitwise_xor(factors, round_key.reshape(along), out=factors)
        np.bitwise_and(crossed, _LOW, out=others)
    return factors[0], others[0], factors[1], others[1]


def _round_keys(key: Key) -> np.ndarray:
    """Return the keys of all rounds, (10, 2) uint64."""
    steps = np.arange(_ROUNDS, dtype=np.uint64)[:, None] * np.array(_KEY_STEPS, dtype=np.uint64)
    return (np.array(key, dtype=np.uint64) + steps) & _LOW


def stream_key(stream: str, split: str, seed: int) -> Key:
    """Return the key of one stream of episodes: 64 bits of a SHA-256 over its name."""
    digest = hashlib.sha256(f"{stream}/{split}/{seed}".encode()).digest()
    return int.from_bytes(digest[:4], "little"), int.from_bytes(digest[4:8], "little")


def uniforms(key: Key, indices: np.ndarray, count: int) -> np.ndarray:
    """Draw `count` numbers for each episode, uniform on the multiples of 2**-32 in [0, 1).

    indices: (T,) int64 episode indices, not negative.
    Returns (T, count) float64. Row t depends on `key` and `indices[t]` alone, and its first numbers
    do not depend on `count`. Raises ValueError for a negative index.
    """
    if indices.size and indices.min() < 0:
        raise ValueError(f"episode index {indices.min()} is negative; indices count from 0")
    index = indices.astype(np.uint64)[:, None]
    block = np.arange(-(-count // 4), dtype=np.uint64)[None, :]
    counter = (index & _LOW, index >> _HALF, block, np.zeros_like(block))
    words = np.stack(philox4x32(counter, key), axis=-1)
    return words.reshape(len(index), 4 * block.size)[:, :count] * 2.0**-32


def normals(uniforms: np.ndarray) -> np.ndarray:
    """Turn pairs of uniform numbers into standard normal ones.

    uniforms: (..., 2 n) numbers in [0, 1), multiples of 2**-32.
    Returns (..., n) float64; number i depends on the uniform numbers 2 i and 2 i + 1 alone, and is
    at most 6.7 from 0. Equal on every machine, but for the last bit of the C library's functions.

    The cosine half of Box and Muller 1958, "A note on the generation of random normal deviates",
    doi:10.1214/aoms/1177706645. Its sine half would need an even n, for a saving nobody would see.
    """
    radius = np.sqrt(-2 * np.log1p(-uniforms[..., 0::2]))  # 1 - u is never 0
    return radius * np.cos(2 * np.pi * uniforms[..., 1::2])


def choose(uniforms: np.ndarray, n: int | np.ndarray) -> np.ndarray:
    """Pick k of n without replacement for each row; every ordered pick is equally likely.

    uniforms: (T, k) numbers in [0, 1), with k at most n. n: one number, or (T,) whole numbers.
    Returns (T, k) int64, distinct within a row. The i-th number names one of the n - i values not
    picked so far, by its rank among them; ranks turn into values as for a Lehmer code, from the
    last pick but one to the first: where pick i comes back, those at or above it move up by one.
    """
    k = uniforms.shape[1]
    if np.any(np.asarray(n) < k):
        raise ValueError(f"cannot choose {k} of {np.min(n)} without replacement")
    # A row for each pick, so that what is compared lies together in memory.
    picks = (uniforms.T * (n - np.arange(k)[:, None])).astype(np.int64, order="C")
    for i in reversed(range(k - 1)):
        picks[i + 1 :] += picks[i + 1 :] >= picks[i]
    return np.ascontiguousarray(picks.T)

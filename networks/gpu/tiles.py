"""How the kernels of `networks.gpu.convolution_kernels` cut their work into tiles.

What is chosen here was fastest of what `python -m benchmarks.tiles` tries.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import triton

Products = Literal["tf32", "tf32x3", "bf16x6", "ieee"]
"""How 32-bit numbers are multiplied: rounded to TF32; in parts of TF32, three products, or of 8
bits, six, both on tensor cores; or as they are."""


EXACT: Products | None = None
"""What exact products are made of, if not what is fastest for each kernel."""


class MapTiles(NamedTuple):
    """Of `convolve`: places of maps and terms of their sums in a tile, and how a program runs."""

    products: Products
    places: int
    terms: int
    warps: int
    stages: int


class WeightTiles(NamedTuple):
    """Of a gradient by weights.

    rows: three taps side by side share a program. programs: how many fill a GPU.
    """

    products: Products
    rows: bool
    places: int
    terms: int
    warps: int
    stages: int
    programs: int


def of_maps(channels: int, taps: int, exact: bool) -> MapTiles:
    """Choose tiles for maps of so many channels an episode; `exact`: no number is rounded."""
    whole = min(64, power_in(channels))
    if not exact:
        return MapTiles("tf32", 128, min(32, whole) if whole >= 16 else side(taps * channels), 8, 3)
    products = EXACT or "tf32x3"
    if whole < 16:
        return MapTiles(products, 128, side(taps * channels), 4, 3)
    return MapTiles(products, 64, whole, 4, 3)


def of_weights(channels: int, taps: int, wide: int, exact: bool) -> WeightTiles:
    """Choose tiles for a gradient by weights of so many channels an episode."""
    terms = side(taps * channels)
    if exact and terms == 16:
        return WeightTiles(EXACT or "tf32x3", False, 32, terms, 4, 3, 1024)
    if exact:
        return WeightTiles(EXACT or "ieee", False, 32, terms, 4, 3, 1024)
    if wide == 3 and channels % 16 == 0:
        return WeightTiles("tf32", True, 32, min(64, power_in(channels)), 4, 3, 1024)
    return WeightTiles("tf32", False, 32 if channels >= 16 else 64, terms, 4, 3, 1024)


def side(size: int) -> int:
    """Return the side of a tile that holds `size`, or a part of it: 16, 32 or 64."""
    return min(64, max(16, triton.next_power_of_2(size)))


def power_in(number: int) -> int:
    """Return the largest power of 2 that divides a number."""
    return number & -number

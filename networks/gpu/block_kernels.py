"""Batch normalization, rectifier and 2 x 2 maxima as one, over rows of channels, and its gradient.

Maps are (R, K): a row for each of R = N H W places, a column for each of K channels of an episode.
Pooled values are (Q, K), Q = N H2 W2, and with each goes the place in its window that it was picked
from, 0 to 3, or 4 where nothing passes the rectifier. What a pooled value receives as a gradient,
its place in the maps gets. Sums over rows are made in parts, (parts, K), and added up by whoever
needs them, each from a tile of sums that threads keep for themselves to the end of the part; sums
of the maps themselves are of distances to the first row, which keeps them exact.
"""

import triton
import triton.language as tl


@triton.jit
def added(parts, count, channel, known, channels, PARTS: tl.constexpr):
    """Return the sums over `count` parts of a program's channels."""
    part = tl.arange(0, PARTS)
    inside = (part < count)[:, None] & known[None, :]
    return tl.sum(
        tl.load(parts + part[:, None] * channels + channel[None, :], mask=inside, other=0.0), 0
    )


@triton.jit
def corner_of(cell, height, width, high, wide):
    """Return the row of the maps that is the first of a pooled value's four."""
    column = cell % wide
    line = (cell // wide) % high
    return ((cell // (wide * high)) * height + 2 * line) * width + 2 * column


@triton.jit
def sum_maps(maps, sums, squares, rows, channels, each, ROWS: tl.constexpr, CHANNELS: tl.constexpr):
    """Sum maps, and their squares, over `each` rows from part * each; both less the first row."""
    part = tl.program_id(1)
    channel = tl.program_id(0) * CHANNELS + tl.arange(0, CHANNELS)
    known = channel < channels
    pivot = tl.load(maps + channel, mask=known, other=0.0)
    total = tl.zeros((ROWS, CHANNELS), dtype=tl.float32)
    square = tl.zeros((ROWS, CHANNELS), dtype=tl.float32)
    last = tl.minimum((part + 1) * each, rows)
    for first in range(part * each, last, ROWS):
        row = first + tl.arange(0, ROWS)
        inside = (row < last)[:, None] & known[None, :]
        value = tl.load(maps + row[:, None] * channels + channel[None, :], mask=inside, other=0.0)
        value = tl.where(inside, value - pivot[None, :], 0.0)
        total += value
        square += value * value
    tl.store(sums + part * channels + channel, tl.sum(total, 0), mask=known)
    tl.store(squares + part * channels + channel, tl.sum(square, 0), mask=known)


@triton.jit
def finish_moments(
    maps,
    sums,
    squares,
    parts,
    rows,
    channels,
    scale,
    shift,
    epsilon,
    mean,
    variance,
    factor,
    offset,
    PARTS: tl.constexpr,
    CHANNELS: tl.constexpr,
):
    """From sums to mean and variance, and to factor and offset: what normalizes a channel."""
    channel = tl.program_id(0) * CHANNELS + tl.arange(0, CHANNELS)
    known = channel < channels
    first = added(sums, parts, channel, known, channels, PARTS) / rows
    second = added(squares, parts, channel, known, channels, PARTS) / rows
    middle = tl.load(maps + channel, mask=known, other=0.0) + first
    spread = second - first * first
    # Not maximum(), which would hide what is no number.
    spread = tl.where(spread < 0.0, 0.0, spread)
    a = tl.load(scale + channel, mask=known, other=0.0) / tl.sqrt(spread + epsilon)
    b = tl.load(shift + channel, mask=known, other=0.0) - middle * a
    tl.store(mean + channel, middle, mask=known)
    tl.store(variance + channel, spread, mask=known)
    tl.store(factor + channel, a, mask=known)
    tl.store(offset + channel, b, mask=known)


@triton.jit
def pool(
    maps,
    factor,
    offset,
    pooled,
    picked,
    places,
    count,
    channels,
    height,
    width,
    high,
    wide,
    ROWS: tl.constexpr,
    CHANNELS: tl.constexpr,
):
    """Pick the largest of 2 x 2 values factor * map + offset, where it is above 0.

    pooled: the largest, or 0; picked: the value of the map there; places: where. count: Q.
    """
    channel = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)
    known = channel < channels
    cell = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    inside = (cell < count)[:, None] & known[None, :]
    a = tl.load(factor + channel, mask=known, other=0.0)[None, :]
    b = tl.load(offset + channel, mask=known, other=0.0)[None, :]
    corner = corner_of(cell, height, width, high, wide)
    start = maps + corner[:, None] * channels + channel[None, :]
    value = tl.load(start, mask=inside, other=0.0)
    best = a * value + b
    where = tl.zeros(best.shape, dtype=tl.int32)
    for place in tl.static_range(1, 4):
        step = ((place // 2) * width + place % 2) * channels
        other = tl.load(start + step, mask=inside, other=0.0)
        new = a * other + b
        # As in torch, what is no number is passed on.
        larger = (new > best) | (new != new)
        best = tl.where(larger, new, best)
        value = tl.where(larger, other, value)
        where = tl.where(larger, place, where)
    nothing = best <= 0.0
    at = cell[:, None] * channels + channel[None, :]
    tl.store(pooled + at, tl.where(nothing, 0.0, best), mask=inside)
    tl.store(picked + at, value, mask=inside)
    tl.store(places + at, tl.where(nothing, 4, where).to(tl.int8), mask=inside)


@triton.jit
def sum_pooled(
    gradient,
    picked,
    places,
    mean,
    sums,
    products,
    rows,
    channels,
    each,
    ROWS: tl.constexpr,
    CHANNELS: tl.constexpr,
):
    """Sum what passes of a gradient (Q, K), and that times (picked - mean). rows: Q."""
    part = tl.program_id(1)
    channel = tl.program_id(0) * CHANNELS + tl.arange(0, CHANNELS)
    known = channel < channels
    middle = tl.load(mean + channel, mask=known, other=0.0)
    total = tl.zeros((ROWS, CHANNELS), dtype=tl.float32)
    product = tl.zeros((ROWS, CHANNELS), dtype=tl.float32)
    last = tl.minimum((part + 1) * each, rows)
    for first in range(part * each, last, ROWS):
        row = first + tl.arange(0, ROWS)
        inside = (row < last)[:, None] & known[None, :]
        at = row[:, None] * channels + channel[None, :]
        passes = inside & (tl.load(places + at, mask=inside, other=4) < 4)
        value = tl.load(gradient + at, mask=passes, other=0.0)
        away = tl.load(picked + at, mask=passes, other=0.0) - middle[None, :]
        total += value
        product += tl.where(passes, value * away, 0.0)
    tl.store(sums + part * channels + channel, tl.sum(total, 0), mask=known)
    tl.store(products + part * channels + channel, tl.sum(product, 0), mask=known)


@triton.jit
def finish_gradient(
    sums,
    products,
    parts,
    rows,
    channels,
    scale,
    mean,
    variance,
    epsilon,
    by_mean,
    by_variance,
    by_scale,
    by_shift,
    coefficients,
    PARTS: tl.constexpr,
    CHANNELS: tl.constexpr,
):
    """From the sums of a gradient g to those by scale and shift, and to three coefficients.

    The gradient by the maps x is c0 g + c1 x + c2. rows: R.
    """
    channel = tl.program_id(0) * CHANNELS + tl.arange(0, CHANNELS)
    known = channel < channels
    total = added(sums, parts, channel, known, channels, PARTS)
    rate = 1.0 / tl.sqrt(tl.load(variance + channel, mask=known, other=1.0) + epsilon)
    product = added(products, parts, channel, known, channels, PARTS) * rate
    middle = tl.load(mean + channel, mask=known, other=0.0)
    gain = tl.load(scale + channel, mask=known, other=0.0) * rate
    more = tl.load(by_variance + channel, mask=known, other=0.0)
    slope = (2.0 * more - gain * rate * product) / rows
    constant = (tl.load(by_mean + channel, mask=known, other=0.0) - gain * total) / rows
    tl.store(by_scale + channel, product, mask=known)
    tl.store(by_shift + channel, total, mask=known)
    tl.store(coefficients + channel, gain, mask=known)
    tl.store(coefficients + channels + channel, slope, mask=known)
    tl.store(coefficients + 2 * channels + channel, constant - slope * middle, mask=known)


@triton.jit
def passed_on(gradient, places, row, channel, inside, channels, height, width, high, wide):
    """Return what rows of the maps get of a gradient by the pooled values."""
    column = row % width
    line = (row // width) % height
    image = row // (width * height)
    cell = (image * high + line // 2) * wide + column // 2
    window = ((line // 2 < high) & (column // 2 < wide))[:, None] & inside
    at = cell[:, None] * channels + channel[None, :]
    place = (line % 2) * 2 + column % 2
    mine = window & (tl.load(places + at, mask=window, other=4) == place[:, None])
    return tl.load(gradient + at, mask=mine, other=0.0)


@triton.jit
def spread(
    gradient,
    places,
    maps,
    others,
    coefficients,
    out,
    rows,
    channels,
    height,
    width,
    high,
    wide,
    TWO: tl.constexpr,
    ROWS: tl.constexpr,
    CHANNELS: tl.constexpr,
):
    """Fill out (R, K) with c0 g + c1 x + c2, and + c3 u where there are two maps, x and u."""
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    channel = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)
    known = channel < channels
    inside = (row < rows)[:, None] & known[None, :]
    at = row[:, None] * channels + channel[None, :]
    g = passed_on(gradient, places, row, channel, inside, channels, height, width, high, wide)
    c0 = tl.load(coefficients + channel, mask=known, other=0.0)[None, :]
    c1 = tl.load(coefficients + channels + channel, mask=known, other=0.0)[None, :]
    c2 = tl.load(coefficients + 2 * channels + channel, mask=known, other=0.0)[None, :]
    value = c0 * g + c1 * tl.load(maps + at, mask=inside, other=0.0) + c2
    if TWO:
        c3 = tl.load(coefficients + 3 * channels + channel, mask=known, other=0.0)[None, :]
        value += c3 * tl.load(others + at, mask=inside, other=0.0)
    tl.store(out + at, value, mask=inside)

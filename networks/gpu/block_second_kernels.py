"""The second derivative of what `networks.gpu.block_kernels` computes, in its terms."""

import triton
import triton.language as tl

from networks.gpu.block_kernels import added, corner_of, passed_on


@triton.jit
def sum_second(
    gradient,
    places,
    maps,
    others,
    mean,
    sums,
    products,
    passed,
    rows,
    channels,
    each,
    height,
    width,
    high,
    wide,
    ROWS: tl.constexpr,
    CHANNELS: tl.constexpr,
):
    """Sum u, u (x - mean) and u g over rows, of maps x, others u and a gradient g."""
    part = tl.program_id(1)
    channel = tl.program_id(0) * CHANNELS + tl.arange(0, CHANNELS)
    known = channel < channels
    middle = tl.load(mean + channel, mask=known, other=0.0)
    total = tl.zeros((ROWS, CHANNELS), dtype=tl.float32)
    product = tl.zeros((ROWS, CHANNELS), dtype=tl.float32)
    through = tl.zeros((ROWS, CHANNELS), dtype=tl.float32)
    last = tl.minimum((part + 1) * each, rows)
    for first in range(part * each, last, ROWS):
        row = first + tl.arange(0, ROWS)
        inside = (row < last)[:, None] & known[None, :]
        at = row[:, None] * channels + channel[None, :]
        u = tl.load(others + at, mask=inside, other=0.0)
        away = tl.load(maps + at, mask=inside, other=0.0) - middle[None, :]
        g = passed_on(gradient, places, row, channel, inside, channels, height, width, high, wide)
        total += u
        product += u * tl.where(inside, away, 0.0)
        through += u * g
    tl.store(sums + part * channels + channel, tl.sum(total, 0), mask=known)
    tl.store(products + part * channels + channel, tl.sum(product, 0), mask=known)
    tl.store(passed + part * channels + channel, tl.sum(through, 0), mask=known)


@triton.jit
def finish_second(
    sums,
    products,
    passed,
    parts,
    rows,
    channels,
    scale,
    mean,
    variance,
    epsilon,
    by_variance,
    total_gradient,
    product_gradient,
    for_scale,
    for_shift,
    by_scale,
    by_mean,
    by_variance_too,
    coefficients,
    picking,
    PARTS: tl.constexpr,
    CHANNELS: tl.constexpr,
):
    """From sums over u, the cotangent of the gradient by the maps, to its derivatives.

    total_gradient, product_gradient: what `finish_gradient` made, sums of g and of g z.
    for_scale, for_shift: cotangents of these. coefficients: c0 g + c1 x + c2 + c3 u by the maps.
    picking: p0 u + p1 x + p2 by the gradient of a pooled value, at its place.
    """
    channel = tl.program_id(0) * CHANNELS + tl.arange(0, CHANNELS)
    known = channel < channels
    middle = tl.load(mean + channel, mask=known, other=0.0)
    rate = 1.0 / tl.sqrt(tl.load(variance + channel, mask=known, other=1.0) + epsilon)
    gain = tl.load(scale + channel, mask=known, other=0.0) * rate
    dv = tl.load(by_variance + channel, mask=known, other=0.0)
    g = tl.load(total_gradient + channel, mask=known, other=0.0)
    gz = tl.load(product_gradient + channel, mask=known, other=0.0)
    vs = tl.load(for_scale + channel, mask=known, other=0.0)
    vt = tl.load(for_shift + channel, mask=known, other=0.0)
    u = added(sums, parts, channel, known, channels, PARTS)
    away = added(products, parts, channel, known, channels, PARTS)
    ug = added(passed, parts, channel, known, channels, PARTS)
    uz = rate * away
    q = ug - u * g / rows - uz * gz / rows
    # L = gain q + u by_mean / R + 2 by_variance away / R + vs gz + vt g, by z and so by the maps.
    along = (vs * gz - 2.0 * gain * uz * gz / rows) / rows
    middle_of = (vs * g - gain * (u * gz + uz * g) / rows) / rows
    by_z = -rate * along - gain * rate * q / rows
    c1 = by_z * rate
    c3 = (2.0 * dv - rate * gain * gz) / rows
    tl.store(coefficients + channel, rate * (vs - gain * uz / rows), mask=known)
    tl.store(coefficients + channels + channel, c1, mask=known)
    tl.store(
        coefficients + 2 * channels + channel,
        -rate * middle_of - 2.0 * dv * u / (rows * 1.0 * rows) - c1 * middle,
        mask=known,
    )
    tl.store(coefficients + 3 * channels + channel, c3, mask=known)
    p1 = rate * (vs - gain * uz / rows)
    tl.store(picking + channel, gain, mask=known)
    tl.store(picking + channels + channel, p1, mask=known)
    tl.store(picking + 2 * channels + channel, vt - gain * u / rows - p1 * middle, mask=known)
    tl.store(by_scale + channel, rate * q, mask=known)
    tl.store(by_mean + channel, u / rows, mask=known)
    tl.store(by_variance_too + channel, 2.0 * away / rows, mask=known)


@triton.jit
def pick(
    others,
    picked,
    places,
    picking,
    out,
    count,
    channels,
    height,
    width,
    high,
    wide,
    ROWS: tl.constexpr,
    CHANNELS: tl.constexpr,
):
    """Fill out (Q, K) with p0 u + p1 x + p2 at the place of each pooled value that passes."""
    channel = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)
    known = channel < channels
    cell = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    inside = (cell < count)[:, None] & known[None, :]
    at = cell[:, None] * channels + channel[None, :]
    place = tl.load(places + at, mask=inside, other=4).to(tl.int32)
    passes = inside & (place < 4)
    corner = corner_of(cell, height, width, high, wide)
    there = corner[:, None] + (place // 2) * width + place % 2
    u = tl.load(others + there * channels + channel[None, :], mask=passes, other=0.0)
    x = tl.load(picked + at, mask=passes, other=0.0)
    p0 = tl.load(picking + channel, mask=known, other=0.0)[None, :]
    p1 = tl.load(picking + channels + channel, mask=known, other=0.0)[None, :]
    p2 = tl.load(picking + 2 * channels + channel, mask=known, other=0.0)[None, :]
    tl.store(out + at, tl.where(passes, p0 * u + p1 * x + p2, 0.0), mask=inside)

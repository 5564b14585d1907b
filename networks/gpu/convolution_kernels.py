"""Convolutions of many episodes, each with weights of its own, as products of tiles.

Images lie with episodes and channels last: a place in an image holds the C channels of the first
episode, then those of the second, ... A tile of places times a tile of weights is one product on
tensor cores; with PRECISION "tf32x3" it is three, whose sum is as exact as 32-bit numbers are.
"""

import triton
import triton.language as tl


@triton.jit
def convolve(
    images,
    weights,
    maps,
    places,
    height,
    width,
    out_height,
    out_width,
    all_channels,
    all_outputs,
    pad_height,
    pad_width,
    CHANNELS: tl.constexpr,
    OUTPUTS: tl.constexpr,
    TALL: tl.constexpr,
    WIDE: tl.constexpr,
    FLIPPED: tl.constexpr,
    PRECISION: tl.constexpr,
    PLACES: tl.constexpr,
    OUT: tl.constexpr,
    TERMS: tl.constexpr,
):
    """Fill maps (N, H', W', T, OUTPUTS), of `places` = N H' W', at stride 1.

    images: (N, H, W, T, CHANNELS). weights: (T, TALL * WIDE, CHANNELS, OUTPUTS), whose taps are
    taken from the last to the first where FLIPPED.
    """
    at = tl.program_id(0) * PLACES + tl.arange(0, PLACES)
    episode = tl.program_id(1)
    out = tl.program_id(2) * OUT + tl.arange(0, OUT)
    inside = at < places
    column = at % out_width - pad_width
    row = (at // out_width) % out_height - pad_height
    image = at // (out_width * out_height)
    taps: tl.constexpr = TALL * WIDE
    total = tl.zeros((PLACES, OUT), dtype=tl.float32)
    own = weights + episode * taps * CHANNELS * OUTPUTS
    seen = images + episode * CHANNELS
    if CHANNELS % TERMS == 0:
        for tap in range(taps):
            r = row + tap // WIDE
            c = column + tap % WIDE
            there = inside & (r >= 0) & (r < height) & (c >= 0) & (c < width)
            start = ((image * height + r) * width + c) * all_channels
            from_tap = taps - 1 - tap if FLIPPED else tap
            for first in range(0, CHANNELS, TERMS):
                channel = first + tl.arange(0, TERMS)
                left = tl.load(
                    seen + start[:, None] + channel[None, :], mask=there[:, None], other=0.0
                )
                right = tl.load(
                    own + (from_tap * CHANNELS + channel)[:, None] * OUTPUTS + out[None, :],
                    mask=(out < OUTPUTS)[None, :],
                    other=0.0,
                )
                total = tl.dot(left, right, total, input_precision=PRECISION)
    else:
        # Few channels: a tile holds those of several taps.
        for first in range(0, taps * CHANNELS, TERMS):
            term = first + tl.arange(0, TERMS)
            tap = term // CHANNELS
            channel = term % CHANNELS
            r = row[:, None] + (tap // WIDE)[None, :]
            c = column[:, None] + (tap % WIDE)[None, :]
            known = (term < taps * CHANNELS)[None, :]
            there = inside[:, None] & known & (r >= 0) & (r < height) & (c >= 0) & (c < width)
            start = ((image[:, None] * height + r) * width + c) * all_channels
            left = tl.load(seen + start + channel[None, :], mask=there, other=0.0)
            from_tap = taps - 1 - tap if FLIPPED else tap
            right = tl.load(
                own + (from_tap * CHANNELS + channel)[:, None] * OUTPUTS + out[None, :],
                mask=(term < taps * CHANNELS)[:, None] & (out < OUTPUTS)[None, :],
                other=0.0,
            )
            total = tl.dot(left, right, total, input_precision=PRECISION)
    tl.store(
        maps + at[:, None] * all_outputs + episode * OUTPUTS + out[None, :],
        total,
        mask=inside[:, None] & (out < OUTPUTS)[None, :],
    )


@triton.jit
def by_weights(
    images,
    gradients,
    sums,
    places,
    each,
    height,
    width,
    out_height,
    out_width,
    all_channels,
    all_outputs,
    pad_height,
    pad_width,
    CHANNELS: tl.constexpr,
    OUTPUTS: tl.constexpr,
    TALL: tl.constexpr,
    WIDE: tl.constexpr,
    PRECISION: tl.constexpr,
    PLACES: tl.constexpr,
    OUT: tl.constexpr,
    TERMS: tl.constexpr,
):
    """Fill sums (S, T, TALL * WIDE * CHANNELS, OUTPUTS): part s over `each` places from s * each.

    images: (N, H, W, T, CHANNELS). gradients: (N, H', W', T, OUTPUTS), of `places` = N H' W'.
    """
    blocks: tl.constexpr = (OUTPUTS + OUT - 1) // OUT
    term = tl.program_id(0) * TERMS + tl.arange(0, TERMS)
    episode = tl.program_id(1)
    part = tl.program_id(2) // blocks
    out = (tl.program_id(2) % blocks) * OUT + tl.arange(0, OUT)
    terms: tl.constexpr = TALL * WIDE * CHANNELS
    total = tl.zeros((TERMS, OUT), dtype=tl.float32)
    last = tl.minimum((part + 1) * each, places)
    for first in range(part * each, last, PLACES):
        at = first + tl.arange(0, PLACES)
        inside = at < last
        column = at % out_width - pad_width
        row = (at // out_width) % out_height - pad_height
        image = at // (out_width * out_height)
        if CHANNELS % TERMS == 0:
            tap = (tl.program_id(0) * TERMS) // CHANNELS
            channel = term % CHANNELS
            r = row + tap // WIDE
            c = column + tap % WIDE
            there = inside & (r >= 0) & (r < height) & (c >= 0) & (c < width)
            start = ((image * height + r) * width + c) * all_channels + episode * CHANNELS
            left = tl.load(
                images + start[:, None] + channel[None, :], mask=there[:, None], other=0.0
            )
        else:
            tap = term // CHANNELS
            channel = term % CHANNELS
            r = row[:, None] + (tap // WIDE)[None, :]
            c = column[:, None] + (tap % WIDE)[None, :]
            known = (term < terms)[None, :]
            there = inside[:, None] & known & (r >= 0) & (r < height) & (c >= 0) & (c < width)
            start = ((image[:, None] * height + r) * width + c) * all_channels
            left = tl.load(
                images + start + episode * CHANNELS + channel[None, :], mask=there, other=0.0
            )
        right = tl.load(
            gradients + at[:, None] * all_outputs + episode * OUTPUTS + out[None, :],
            mask=inside[:, None] & (out < OUTPUTS)[None, :],
            other=0.0,
        )
        total = tl.dot(tl.trans(left), right, total, input_precision=PRECISION)
    tl.store(
        sums
        + ((part * tl.num_programs(1) + episode) * terms + term)[:, None] * OUTPUTS
        + out[None, :],
        total,
        mask=(term < terms)[:, None] & (out < OUTPUTS)[None, :],
    )

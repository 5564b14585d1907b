"""Convolutions of many episodes, each with weights of its own, as products of tiles.

Images lie with episodes and channels last: a place in an image holds the C channels of the first
episode, then those of the second, ... A tile of places times a tile of weights is one product;
PRECISION says how its numbers are multiplied (`networks.gpu.tiles.Products`).
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

    images: (N, H, W, T, CHANNELS). weights: (T, OUTPUTS, TALL * WIDE, CHANNELS), whose taps are
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
    terms: tl.constexpr = taps * CHANNELS
    total = tl.zeros((PLACES, OUT), dtype=tl.float32)
    own = weights + episode * terms * OUTPUTS
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
                    own + out[:, None] * terms + (from_tap * CHANNELS + channel)[None, :],
                    mask=(out < OUTPUTS)[:, None],
                    other=0.0,
                )
                total = tl.dot(left, tl.trans(right), total, input_precision=PRECISION)
    else:
        # Few channels: a tile holds those of several taps.
        for first in range(0, terms, TERMS):
            term = first + tl.arange(0, TERMS)
            tap = term // CHANNELS
            channel = term % CHANNELS
            r = row[:, None] + (tap // WIDE)[None, :]
            c = column[:, None] + (tap % WIDE)[None, :]
            known = (term < terms)[None, :]
            there = inside[:, None] & known & (r >= 0) & (r < height) & (c >= 0) & (c < width)
            start = ((image[:, None] * height + r) * width + c) * all_channels
            left = tl.load(seen + start + channel[None, :], mask=there, other=0.0)
            from_tap = taps - 1 - tap if FLIPPED else tap
            right = tl.load(
                own + out[:, None] * terms + (from_tap * CHANNELS + channel)[None, :],
                mask=(term < terms)[None, :] & (out < OUTPUTS)[:, None],
                other=0.0,
            )
            total = tl.dot(left, tl.trans(right), total, input_precision=PRECISION)
    tl.store(
        maps + at[:, None] * all_outputs + episode * OUTPUTS + out[None, :],
        total,
        mask=inside[:, None] & (out < OUTPUTS)[None, :],
    )


@triton.jit
def _seen(images, start, row, column, inside, channel, height, width, all_channels):
    """Return the channels of the places that a tap sees, (PLACES, TERMS)."""
    there = inside & (row >= 0) & (row < height) & (column >= 0) & (column < width)
    place = start + (row * width + column) * all_channels
    return tl.load(images + place[:, None] + channel[None, :], mask=there[:, None], other=0.0)


@triton.jit
def by_weights(
    images,
    gradients,
    sums,
    places,
    each,
    height,
    width,
    all_channels,
    all_outputs,
    pad_height,
    pad_width,
    OUT_HEIGHT: tl.constexpr,
    OUT_WIDTH: tl.constexpr,
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
    A program takes TERMS channels of three taps side by side; WIDE is 3.
    """
    blocks: tl.constexpr = (OUTPUTS + OUT - 1) // OUT
    terms: tl.constexpr = TALL * WIDE * CHANNELS
    tap_row = tl.program_id(0) * TERMS // CHANNELS
    channel = (tl.program_id(0) * TERMS) % CHANNELS + tl.arange(0, TERMS)
    episode = tl.program_id(1)
    part = tl.program_id(2) // blocks
    out = (tl.program_id(2) % blocks) * OUT + tl.arange(0, OUT)
    left = tl.zeros((TERMS, OUT), dtype=tl.float32)
    middle = tl.zeros((TERMS, OUT), dtype=tl.float32)
    right = tl.zeros((TERMS, OUT), dtype=tl.float32)
    last = tl.minimum((part + 1) * each, places)
    for first in range(part * each, last, PLACES):
        at = first + tl.arange(0, PLACES)
        inside = at < last
        column = at % OUT_WIDTH - pad_width
        row = (at // OUT_WIDTH) % OUT_HEIGHT - pad_height + tap_row
        image = at // (OUT_WIDTH * OUT_HEIGHT)
        start = image * (height * width * all_channels) + episode * CHANNELS
        gradient = tl.load(
            gradients + at[:, None] * all_outputs + episode * OUTPUTS + out[None, :],
            mask=inside[:, None] & (out < OUTPUTS)[None, :],
            other=0.0,
        )
        seen = _seen(images, start, row, column, inside, channel, height, width, all_channels)
        left = tl.dot(tl.trans(seen), gradient, left, input_precision=PRECISION)
        seen = _seen(images, start, row, column + 1, inside, channel, height, width, all_channels)
        middle = tl.dot(tl.trans(seen), gradient, middle, input_precision=PRECISION)
        seen = _seen(images, start, row, column + 2, inside, channel, height, width, all_channels)
        right = tl.dot(tl.trans(seen), gradient, right, input_precision=PRECISION)
    row_of_terms = (part * tl.num_programs(1) + episode) * terms + tap_row * WIDE * CHANNELS
    to = sums + (row_of_terms + channel)[:, None] * OUTPUTS + out[None, :]
    known = (out < OUTPUTS)[None, :]
    tl.store(to, left, mask=known)
    tl.store(to + CHANNELS * OUTPUTS, middle, mask=known)
    tl.store(to + 2 * CHANNELS * OUTPUTS, right, mask=known)


@triton.jit
def by_few_weights(
    images,
    gradients,
    sums,
    places,
    each,
    height,
    width,
    all_channels,
    all_outputs,
    pad_height,
    pad_width,
    OUT_HEIGHT: tl.constexpr,
    OUT_WIDTH: tl.constexpr,
    CHANNELS: tl.constexpr,
    OUTPUTS: tl.constexpr,
    TALL: tl.constexpr,
    WIDE: tl.constexpr,
    PRECISION: tl.constexpr,
    PLACES: tl.constexpr,
    OUT: tl.constexpr,
    TERMS: tl.constexpr,
):
    """Do what `by_weights` does for any kernel and channels: a tile holds terms of several taps."""
    blocks: tl.constexpr = (OUTPUTS + OUT - 1) // OUT
    term = tl.program_id(0) * TERMS + tl.arange(0, TERMS)
    episode = tl.program_id(1)
    part = tl.program_id(2) // blocks
    out = (tl.program_id(2) % blocks) * OUT + tl.arange(0, OUT)
    terms: tl.constexpr = TALL * WIDE * CHANNELS
    tap = term // CHANNELS
    channel = term % CHANNELS
    total = tl.zeros((TERMS, OUT), dtype=tl.float32)
    last = tl.minimum((part + 1) * each, places)
    for first in range(part * each, last, PLACES):
        at = first + tl.arange(0, PLACES)
        inside = at < last
        column = at % OUT_WIDTH - pad_width
        row = (at // OUT_WIDTH) % OUT_HEIGHT - pad_height
        image = at // (OUT_WIDTH * OUT_HEIGHT)
        r = row[:, None] + (tap // WIDE)[None, :]
        c = column[:, None] + (tap % WIDE)[None, :]
        known = (term < terms)[None, :]
        there = inside[:, None] & known & (r >= 0) & (r < height) & (c >= 0) & (c < width)
        start = ((image[:, None] * height + r) * width + c) * all_channels
        seen = tl.load(
            images + start + episode * CHANNELS + channel[None, :], mask=there, other=0.0
        )
        gradient = tl.load(
            gradients + at[:, None] * all_outputs + episode * OUTPUTS + out[None, :],
            mask=inside[:, None] & (out < OUTPUTS)[None, :],
            other=0.0,
        )
        total = tl.dot(tl.trans(seen), gradient, total, input_precision=PRECISION)
    tl.store(
        sums
        + ((part * tl.num_programs(1) + episode) * terms + term)[:, None] * OUTPUTS
        + out[None, :],
        total,
        mask=(term < terms)[:, None] & (out < OUTPUTS)[None, :],
    )

"""Grouped convolutions and their two gradients by our own kernels.

cuDNN runs a group after another, copies between layouts, and has no fast kernel for one or three
channels a group; see `networks.gpu.convolution_kernels` for what is done instead.
"""

from __future__ import annotations

from typing import Literal, get_args

import torch
import triton
from torch import Tensor

from networks.gpu.convolution_kernels import by_few_weights, by_weights, convolve

Precision = Literal["tf32", "bf16x6"]
PLACES, WARPS = 128, 8
PLACES_OF_GRADIENT, PROGRAMS = 32, 1024
"""Sizes of tiles, and how many programs fill a GPU: what was fastest on an H200."""


def _precision() -> Precision:
    """As torch is told for convolutions: see `algorithms.precision`."""
    return "tf32" if torch.backends.cudnn.allow_tf32 else "bf16x6"


def try_out(device: torch.device) -> None:
    """Run each kernel once in each precision; whatever is wrong with Triton is raised."""
    for precision in get_args(Precision):
        for channels in (1, 64):
            images = torch.ones(1, channels, 3, 3, device=device)
            weight = torch.ones(64, channels, 3, 3, device=device)
            maps = forward(images, weight, [1, 1], 1, precision)
            by_weight(maps, images, tuple(weight.shape), [1, 1], 1, precision)


def _last(maps: Tensor) -> Tensor:
    return maps.contiguous(memory_format=torch.channels_last)


def _terms(channels: int, taps: int) -> int:
    """Return the length of a tile's products: a divisor of the channels, or all taps together."""
    for size in (32, 16):
        if channels % size == 0:
            return size
    return _tile(taps * channels)


def _tile(size: int) -> int:
    """Return the side of a tile that holds `size`, or a part of it: 16, 32 or 64."""
    return min(64, max(16, triton.next_power_of_2(size)))


def forward(
    images: Tensor,
    weight: Tensor,
    padding: list[int],
    groups: int,
    precision: Precision | None = None,
) -> Tensor:
    """Convolve images (N, T * C, H, W) with a weight (T * O, C, h, w) in T = `groups` groups.

    precision: here and below, None for what torch is told.
    """
    outputs = len(weight) // groups
    # (T, O, h, w, C)
    laid = weight.unflatten(0, (groups, outputs)).permute(0, 1, 3, 4, 2).contiguous()
    return _run(images, laid, padding, precision or _precision(), flipped=False)


def by_images(gradient: Tensor, weight: Tensor, padding: list[int], groups: int) -> Tensor:
    """Return the gradient by the images of a gradient (N, T * O, H', W') by the maps."""
    outputs, (tall, wide) = len(weight) // groups, weight.shape[2:]
    # (T, C, h, w, O)
    laid = weight.unflatten(0, (groups, outputs)).permute(0, 2, 3, 4, 1).contiguous()
    around = [tall - 1 - padding[0], wide - 1 - padding[1]]
    return _run(gradient, laid, around, _precision(), flipped=True)


def _run(
    images: Tensor, laid: Tensor, padding: list[int], precision: Precision, *, flipped: bool
) -> Tensor:
    images = _last(images)
    count, all_channels, height, width = images.shape
    groups, outputs, tall, wide, channels = laid.shape
    out_height, out_width = height + 2 * padding[0] - tall + 1, width + 2 * padding[1] - wide + 1
    maps = torch.empty(
        (count, groups * outputs, out_height, out_width),
        dtype=images.dtype,
        device=images.device,
        memory_format=torch.channels_last,
    )
    places, out = count * out_height * out_width, _tile(outputs)
    convolve[(triton.cdiv(places, PLACES), groups, triton.cdiv(outputs, out))](
        images,
        laid,
        maps,
        places,
        height,
        width,
        out_height,
        out_width,
        all_channels,
        groups * outputs,
        *padding,
        CHANNELS=channels,
        OUTPUTS=outputs,
        TALL=tall,
        WIDE=wide,
        FLIPPED=flipped,
        PRECISION=precision,
        PLACES=PLACES,
        OUT=out,
        TERMS=_terms(channels, tall * wide),
        num_warps=WARPS,
    )
    return maps


def by_weight(
    gradient: Tensor,
    images: Tensor,
    form: tuple[int, ...],
    padding: list[int],
    groups: int,
    precision: Precision | None = None,
) -> Tensor:
    """Return the gradient by a weight of the form (T * O, C, h, w)."""
    gradient, images = _last(gradient), _last(images)
    outputs, channels, (tall, wide) = form[0] // groups, form[1], form[2:]
    places = gradient.shape[0] * gradient.shape[2] * gradient.shape[3]
    out = _tile(outputs)
    precision = precision or _precision()
    blocks, size = triton.cdiv(outputs, out), PLACES_OF_GRADIENT
    whole_tiles = channels % 64 == 0 or (precision == "tf32" and channels % 16 == 0)
    if wide == 3 and whole_tiles:
        kernel, terms = by_weights, min(64, _power_in(channels))
        tiles = tall * channels // terms
    else:
        kernel, terms = by_few_weights, _tile(tall * wide * channels)
        tiles = triton.cdiv(tall * wide * channels, terms)
        size = size if channels >= 16 else 2 * size
    parts = min(triton.cdiv(PROGRAMS, tiles * groups * blocks), triton.cdiv(places, 4 * size))
    each = triton.cdiv(triton.cdiv(places, parts), size) * size
    parts = triton.cdiv(places, each)
    sums = gradient.new_empty(parts, groups, tall * wide * channels, outputs)
    kernel[(tiles, groups, parts * blocks)](
        images,
        gradient,
        sums,
        places,
        each,
        *images.shape[2:],
        images.shape[1],
        gradient.shape[1],
        *padding,
        OUT_HEIGHT=gradient.shape[2],
        OUT_WIDTH=gradient.shape[3],
        CHANNELS=channels,
        OUTPUTS=outputs,
        TALL=tall,
        WIDE=wide,
        PRECISION=precision,
        PLACES=size,
        OUT=out,
        TERMS=terms,
    )
    whole = sums.sum(0) if parts > 1 else sums[0]
    laid = whole.view(groups, tall, wide, channels, outputs).permute(0, 4, 3, 1, 2)
    return laid.reshape(form)


def _power_in(number: int) -> int:
    """Return the largest power of 2 that divides a number."""
    return number & -number

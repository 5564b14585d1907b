"""Grouped convolutions and their two gradients by our own kernels.

cuDNN runs a group after another, copies between layouts, and has no fast kernel for one or three
channels a group; see `networks.gpu.convolution_kernels` for what is done instead.
"""

from __future__ import annotations

from typing import Literal

import torch
import triton
from torch import Tensor

from networks.gpu.convolution_kernels import by_weights, convolve

Precision = Literal["tf32", "tf32x3"]
PLACES, PLACES_OF_GRADIENT, PROGRAMS = 128, 64, 512
WARPS = 4


def _precision() -> Precision:
    """As torch is told for convolutions: see `algorithms.precision`."""
    return "tf32" if torch.backends.cudnn.allow_tf32 else "tf32x3"


def _last(maps: Tensor) -> Tensor:
    return maps.contiguous(memory_format=torch.channels_last)


def _terms(channels: int, taps: int) -> int:
    """Return the length of a tile's products: a divisor of the channels, or all taps together."""
    for size in (32, 16):
        if channels % size == 0:
            return size
    return min(64, max(16, triton.next_power_of_2(taps * channels)))


def _out(outputs: int) -> int:
    return min(64, max(16, triton.next_power_of_2(outputs)))


def forward(images: Tensor, weight: Tensor, padding: list[int], groups: int) -> Tensor:
    """Convolve images (N, T * C, H, W) with a weight (T * O, C, h, w) in T = `groups` groups."""
    outputs = len(weight) // groups
    # (T, h, w, C, O)
    laid = weight.unflatten(0, (groups, outputs)).permute(0, 3, 4, 2, 1).contiguous()
    return _run(images, laid, padding, flipped=False)


def by_images(gradient: Tensor, weight: Tensor, padding: list[int], groups: int) -> Tensor:
    """Return the gradient by the images of a gradient (N, T * O, H', W') by the maps."""
    outputs, (tall, wide) = len(weight) // groups, weight.shape[2:]
    # (T, h, w, O, C)
    laid = weight.unflatten(0, (groups, outputs)).permute(0, 3, 4, 1, 2).contiguous()
    around = [tall - 1 - padding[0], wide - 1 - padding[1]]
    return _run(gradient, laid, around, flipped=True)


def _run(images: Tensor, laid: Tensor, padding: list[int], *, flipped: bool) -> Tensor:
    images = _last(images)
    count, all_channels, height, width = images.shape
    groups, tall, wide, channels, outputs = laid.shape
    out_height, out_width = height + 2 * padding[0] - tall + 1, width + 2 * padding[1] - wide + 1
    maps = torch.empty(
        (count, groups * outputs, out_height, out_width),
        dtype=images.dtype,
        device=images.device,
        memory_format=torch.channels_last,
    )
    places, out = count * out_height * out_width, _out(outputs)
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
        PRECISION=_precision(),
        PLACES=PLACES,
        OUT=out,
        TERMS=_terms(channels, tall * wide),
        num_warps=WARPS,
    )
    return maps


def by_weight(
    gradient: Tensor, images: Tensor, form: tuple[int, ...], padding: list[int], groups: int
) -> Tensor:
    """Return the gradient by a weight of the form (T * O, C, h, w)."""
    gradient, images = _last(gradient), _last(images)
    outputs, channels, (tall, wide) = form[0] // groups, form[1], form[2:]
    places = gradient.shape[0] * gradient.shape[2] * gradient.shape[3]
    terms, out = _terms_of_gradient(channels, tall * wide), _out(outputs)
    blocks = (triton.cdiv(tall * wide * channels, terms), groups, triton.cdiv(outputs, out))
    size = PLACES_OF_GRADIENT
    parts = min(
        triton.cdiv(PROGRAMS, blocks[0] * blocks[1] * blocks[2]), triton.cdiv(places, 4 * size)
    )
    each = triton.cdiv(triton.cdiv(places, parts), size) * size
    parts = triton.cdiv(places, each)
    sums = gradient.new_empty(parts, groups, tall * wide * channels, outputs)
    by_weights[(blocks[0], groups, parts * blocks[2])](
        images,
        gradient,
        sums,
        places,
        each,
        *images.shape[2:],
        *gradient.shape[2:],
        images.shape[1],
        gradient.shape[1],
        *padding,
        CHANNELS=channels,
        OUTPUTS=outputs,
        TALL=tall,
        WIDE=wide,
        PRECISION=_precision(),
        PLACES=size,
        OUT=out,
        TERMS=terms,
    )
    whole = sums.sum(0) if parts > 1 else sums[0]
    laid = whole.view(groups, tall, wide, channels, outputs).permute(0, 4, 3, 1, 2)
    return laid.reshape(form)


def _terms_of_gradient(channels: int, taps: int) -> int:
    for size in (64, 32, 16):
        if channels % size == 0:
            return size
    return min(64, max(16, triton.next_power_of_2(taps * channels)))

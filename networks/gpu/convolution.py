"""Grouped convolutions and their two gradients by our own kernels.

cuDNN runs a group after another, copies between layouts, and has no fast kernel for one or three
channels a group; see `networks.gpu.convolution_kernels` for what is done instead.
"""

from __future__ import annotations

import torch
import triton
from torch import Tensor

from networks.gpu import tiles
from networks.gpu.convolution_kernels import by_few_weights, by_weights, convolve
from networks.gpu.tiles import MapTiles, WeightTiles


def _exact() -> bool:
    """As torch is told for convolutions: see `algorithms.precision`."""
    return not torch.backends.cudnn.allow_tf32


def try_out(device: torch.device) -> None:
    """Run each kernel once, exact and rounded; whatever is wrong with Triton is raised."""
    for exact in (True, False):
        for channels in (1, 64):
            images = torch.ones(1, channels, 3, 3, device=device)
            weight = torch.ones(64, channels, 3, 3, device=device)
            maps = forward(images, weight, [1, 1], 1, tiles.of_maps(channels, 9, exact))
            cut = tiles.of_weights(channels, 9, 3, exact)
            by_weight(maps, images, tuple(weight.shape), [1, 1], 1, cut)


def _last(maps: Tensor) -> Tensor:
    return maps.contiguous(memory_format=torch.channels_last)


def forward(
    images: Tensor,
    weight: Tensor,
    padding: list[int],
    groups: int,
    cut: MapTiles | None = None,
) -> Tensor:
    """Convolve images (N, T * C, H, W) with a weight (T * O, C, h, w) in T = `groups` groups.

    cut: here and below, None for what `tiles` chooses, exact or not as torch is told.
    """
    outputs = len(weight) // groups
    # (T, O, h, w, C)
    laid = weight.unflatten(0, (groups, outputs)).permute(0, 1, 3, 4, 2).contiguous()
    return _run(images, laid, padding, cut, flipped=False)


def by_images(
    gradient: Tensor,
    weight: Tensor,
    padding: list[int],
    groups: int,
    cut: MapTiles | None = None,
) -> Tensor:
    """Return the gradient by the images of a gradient (N, T * O, H', W') by the maps."""
    outputs, (tall, wide) = len(weight) // groups, weight.shape[2:]
    # (T, C, h, w, O)
    laid = weight.unflatten(0, (groups, outputs)).permute(0, 2, 3, 4, 1).contiguous()
    around = [tall - 1 - padding[0], wide - 1 - padding[1]]
    return _run(gradient, laid, around, cut, flipped=True)


def _run(
    images: Tensor,
    laid: Tensor,
    padding: list[int],
    cut: MapTiles | None,
    *,
    flipped: bool,
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
    places, out = count * out_height * out_width, tiles.side(outputs)
    cut = cut or tiles.of_maps(channels, tall * wide, _exact())
    convolve[(triton.cdiv(places, cut.places), groups, triton.cdiv(outputs, out))](
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
        PRECISION=cut.products,
        PLACES=cut.places,
        OUT=out,
        TERMS=cut.terms,
        num_warps=cut.warps,
        num_stages=cut.stages,
    )
    return maps


def by_weight(
    gradient: Tensor,
    images: Tensor,
    form: tuple[int, ...],
    padding: list[int],
    groups: int,
    cut: WeightTiles | None = None,
) -> Tensor:
    """Return the gradient by a weight of the form (T * O, C, h, w)."""
    gradient, images = _last(gradient), _last(images)
    outputs, channels, (tall, wide) = form[0] // groups, form[1], form[2:]
    places = gradient.shape[0] * gradient.shape[2] * gradient.shape[3]
    taps, out = tall * wide, tiles.side(outputs)
    cut = cut or tiles.of_weights(channels, taps, wide, _exact())
    size, blocks = cut.places, triton.cdiv(outputs, out)
    if cut.rows:
        kernel, pieces = by_weights, tall * channels // cut.terms
    else:
        kernel, pieces = by_few_weights, triton.cdiv(taps * channels, cut.terms)
    wanted = triton.cdiv(cut.programs, pieces * groups * blocks)
    parts = min(wanted, triton.cdiv(places, 4 * size))
    each = triton.cdiv(triton.cdiv(places, parts), size) * size
    parts = triton.cdiv(places, each)
    sums = gradient.new_empty(parts, groups, taps * channels, outputs)
    kernel[(pieces, groups, parts * blocks)](
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
        PRECISION=cut.products,
        PLACES=size,
        OUT=out,
        TERMS=cut.terms,
        num_warps=cut.warps,
        num_stages=cut.stages,
    )
    whole = sums.sum(0) if parts > 1 else sums[0]
    laid = whole.view(groups, tall, wide, channels, outputs).permute(0, 4, 3, 1, 2)
    return laid.reshape(form)

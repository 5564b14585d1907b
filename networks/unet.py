"""A small U-Net: outputs for every pixel of an image (Ronneberger et al. 2015)."""

from __future__ import annotations

import torch
from torch import Tensor

from networks.errors import NetworkError
from networks.initialization import convolution_weight, linear_parameters
from networks.layers import (
    ACTIVATIONS,
    beside,
    convolution,
    examples_first,
    linear,
    max_pool,
    normalize,
    spread,
    widened,
)
from networks.network import Network, Params, Statistics


def unet(
    input_shape: tuple[int, ...],
    outputs: int,
    *,
    filters: int = 16,
    depth: int = 3,
    convolutions: int = 2,
    normalization: str = "batch",
    activation: str = "relu",
) -> Network:
    """Build an encoder that halves images `depth` times, and a decoder that brings them back.

    Ronneberger et al. 2015, arXiv:1505.04597, section 2, with fewer filters and `convolutions`
    kept to the size of their maps by zeros around them, so that features have the size of the
    image. A level has twice the filters of the one above it. On the way down a level is
    "down1", "down2", ..., halved by 2 x 2 maxima; "bottom" is the lowest; on the way up, "upN" is a
    2 x 2 up-convolution of stride 2, with a bias for each of its pixels, and "mergeN" takes its
    maps beside those of "downN". The head is linear in the `filters` features of a pixel.
    depth: an image of any size will do whose sides are at least 2^depth; where a side is odd, what
        comes back from below lacks a line, and has zeros there.
    normalization: of every 3 x 3 convolution; see `networks.layers.normalize`. One has a bias only
        without it.
    Features are (T, N, H, W, filters), outputs (T, N, H, W, outputs).
    Raises NetworkError for a depth that halves the image to nothing.
    """
    channels, height, width = input_shape
    if min(height, width) < 2**depth:
        raise NetworkError(
            f"depth: {depth}: halves an image of {height} x {width} to nothing; must be at most "
            f"{min(height, width).bit_length() - 1}"
        )
    activate = ACTIVATIONS[activation]
    levels = range(1, depth + 1)

    def layers(block: str) -> list[str]:
        return [f"{block}.layer{i}" for i in range(1, convolutions + 1)]

    def init(rng: torch.Generator) -> Params:
        params: Params = {}

        def add(block: str, fan_in: int, fan_out: int) -> None:
            for layer in layers(block):
                params[f"{layer}.weight"] = convolution_weight(fan_in, fan_out, rng)
                if normalization == "none":
                    params[f"{layer}.bias"] = torch.zeros(fan_out)
                else:
                    params[f"{layer}.scale"] = torch.ones(fan_out)
                    params[f"{layer}.shift"] = torch.zeros(fan_out)
                fan_in = fan_out

        fan_in = channels
        for level in levels:
            wide = filters * 2 ** (level - 1)
            add(f"down{level}", fan_in, wide)
            fan_in = wide
        add("bottom", fan_in, 2 * fan_in)
        for level in reversed(levels):
            wide = filters * 2 ** (level - 1)
            up = convolution_weight(2 * wide, 4 * wide, rng, kernel=1)
            params[f"up{level}.weight"], params[f"up{level}.bias"] = up, torch.zeros(4 * wide)
            add(f"merge{level}", 2 * wide, wide)
        params["head.weight"], params["head.bias"] = linear_parameters(filters, outputs, rng)
        return params

    def features(
        params: Params,
        inputs: Tensor,
        statistics: Statistics | None = None,
        collect: bool = False,
    ) -> tuple[Tensor, Statistics]:
        collected: Statistics = {}
        into = collected if collect else None

        def through(block: str, maps: Tensor) -> Tensor:
            for layer in layers(block):
                maps = convolution(params[f"{layer}.weight"], params.get(f"{layer}.bias"), maps)
                maps = activate(normalize(normalization, params, layer, maps, statistics, into))
            return maps

        maps = examples_first(inputs, normalization)
        kept: list[Tensor] = []
        for level in levels:
            maps = through(f"down{level}", maps)
            kept.append(maps)
            maps = max_pool(maps)
        maps = through("bottom", maps)
        for level in reversed(levels):
            across = kept[level - 1]
            maps = convolution(params[f"up{level}.weight"], params[f"up{level}.bias"], maps)
            maps = widened(spread(maps), *across.shape[-2:])
            maps = through(f"merge{level}", beside(across, maps))
        return maps.permute(1, 0, 3, 4, 2), collected

    def head(params: Params, hidden: Tensor) -> Tensor:
        pixels = linear(params["head.weight"], params["head.bias"], hidden.flatten(1, 3))
        return pixels.unflatten(1, hidden.shape[1:4])

    names = ("head.weight", "head.bias")
    return Network("unet", init, features, head, names, normalization == "batch")

"""The convolutional few-shot network of Vinyals et al. 2016 (section 4.1.1) and its variations."""

from __future__ import annotations

import torch
from torch import Tensor

from networks.errors import check_word
from networks.initialization import convolution_weight, linear_parameters
from networks.layers import (
    ACTIVATIONS,
    average_pool,
    convolution,
    examples_first,
    linear,
    max_pool,
    normalize,
    normalized_maxima,
)
from networks.network import Network, Params, Statistics

POOLS = {"pool": max_pool, "average": average_pool}
RECTIFIERS = ("relu", "leaky_relu")


def conv4(
    input_shape: tuple[int, ...],
    outputs: int,
    *,
    filters: int = 64,
    depth: int = 4,
    downsample: str = "pool",
    normalization: str = "batch",
    activation: str = "relu",
    residual: bool = False,
) -> Network:
    """Build `depth` blocks of convolution, normalization, activation, halving; then a linear layer.

    downsample: "pool" halves by 2 x 2 maxima after the activation, "average" by 2 x 2 means,
        "stride" by a convolution of stride 2 (Finn et al. 2017 for Omniglot). A map of side 1 is
        not halved again.
    normalization: see `networks.layers.normalize`. A convolution has a bias only without one.
    residual: a block's input is added before its activation (He et al. 2016, section 3.2): as it
        is where shapes agree, else through a 1 x 1 convolution, "blockN.shortcut.weight".
    """
    check_word("downsample", downsample, (*POOLS, "stride"))
    channels, height, width = input_shape
    activate = ACTIVATIONS[activation]
    blocks = [f"block{i}" for i in range(1, depth + 1)]
    halves: list[bool] = []
    for _ in blocks:
        halves.append(min(height, width) > 1)
        if halves[-1]:
            up = 1 if downsample == "stride" else 0
            height, width = (height + up) // 2, (width + up) // 2
    together = (normalization, activation, downsample, residual) == ("batch", "relu", "pool", False)
    strides = [2 if halve and downsample == "stride" else 1 for halve in halves]

    def init(rng: torch.Generator) -> Params:
        params: Params = {}
        fan_in = channels
        for block, stride in zip(blocks, strides, strict=True):
            params[f"{block}.weight"] = convolution_weight(fan_in, filters, rng)
            if normalization == "none":
                params[f"{block}.bias"] = torch.zeros(filters)
            else:
                params[f"{block}.scale"] = torch.ones(filters)
                params[f"{block}.shift"] = torch.zeros(filters)
            if residual and (fan_in != filters or stride > 1):
                shortcut = convolution_weight(fan_in, filters, rng, kernel=1)
                params[f"{block}.shortcut.weight"] = shortcut
            fan_in = filters
        size = filters * height * width
        params["head.weight"], params["head.bias"] = linear_parameters(size, outputs, rng)
        return params

    def features(
        params: Params,
        inputs: Tensor,
        statistics: Statistics | None = None,
        collect: bool = False,
    ) -> tuple[Tensor, Statistics]:
        collected: Statistics = {}
        into = collected if collect else None
        maps = examples_first(inputs, normalization)
        for block, stride, halve in zip(blocks, strides, halves, strict=True):
            before = maps
            maps = convolution(params[f"{block}.weight"], params.get(f"{block}.bias"), maps, stride)
            if together and halve:
                maps = normalized_maxima(params, block, maps, statistics, into)
                continue
            maps = normalize(normalization, params, block, maps, statistics, into)
            if residual:
                shortcut = params.get(f"{block}.shortcut.weight")
                if shortcut is not None:
                    before = convolution(shortcut, None, before, stride)
                maps = maps + before
            if halve and downsample == "pool" and activation in RECTIFIERS:
                # They keep the order of values: the same, to the last derivative, on a quarter.
                maps = activate(max_pool(maps))
                continue
            maps = activate(maps)
            if halve and downsample in POOLS:
                maps = POOLS[downsample](maps)
        return maps.flatten(2).transpose(0, 1), collected

    def head(params: Params, hidden: Tensor) -> Tensor:
        return linear(params["head.weight"], params["head.bias"], hidden)

    names = ("head.weight", "head.bias")
    return Network("conv4", init, features, head, names, normalization == "batch")

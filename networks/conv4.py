"""The convolutional few-shot network of Vinyals et al. 2016 (section 4.1.1) and its variations."""

from __future__ import annotations

import torch
from torch import Tensor

from networks.initialization import convolution_weight, linear_parameters
from networks.layers import ACTIVATIONS, convolution, linear, max_pool, normalize
from networks.network import Network, Params, Statistics


def conv4(
    input_shape: tuple[int, ...],
    outputs: int,
    *,
    filters: int = 64,
    depth: int = 4,
    downsample: str = "pool",
    normalization: str = "batch",
    activation: str = "relu",
) -> Network:
    """Build `depth` blocks of convolution, normalization, activation, halving; then a linear layer.

    downsample: "pool" halves by 2 x 2 maxima after the activation, "stride" by a convolution of
        stride 2 (Finn et al. 2017 for Omniglot). A map of side 1 is not halved again.
    normalization: see `networks.layers.normalize`. A convolution has a bias only without one.
    """
    channels, height, width = input_shape
    activate = ACTIVATIONS[activation]
    blocks = [f"block{i}" for i in range(1, depth + 1)]
    halves: list[bool] = []
    for _ in blocks:
        halves.append(min(height, width) > 1)
        if halves[-1]:
            up = 1 if downsample == "stride" else 0
            height, width = (height + up) // 2, (width + up) // 2

    def init(rng: torch.Generator) -> Params:
        params: Params = {}
        fan_in = channels
        for block in blocks:
            params[f"{block}.weight"] = convolution_weight(fan_in, filters, rng)
            if normalization == "none":
                params[f"{block}.bias"] = torch.zeros(filters)
            else:
                params[f"{block}.scale"] = torch.ones(filters)
                params[f"{block}.shift"] = torch.zeros(filters)
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
        maps = inputs.transpose(0, 1).contiguous()
        for block, halve in zip(blocks, halves, strict=True):
            stride = 2 if halve and downsample == "stride" else 1
            bias = params.get(f"{block}.bias")
            maps = convolution(params[f"{block}.weight"], bias, maps, stride)
            into = collected if collect else None
            maps = activate(normalize(normalization, params, block, maps, statistics, into))
            if halve and downsample == "pool":
                maps = max_pool(maps)
        return maps.flatten(2).transpose(0, 1), collected

    def head(params: Params, hidden: Tensor) -> Tensor:
        return linear(params["head.weight"], params["head.bias"], hidden)

    names = ("head.weight", "head.bias")
    return Network("conv4", init, features, head, names, normalization == "batch")

"""ResNet-12, the larger network of the few-shot literature, without DropBlock."""

from __future__ import annotations

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from networks.errors import check_word
from networks.initialization import fan_out_weight, linear_parameters
from networks.layers import (
    ACTIVATIONS,
    convolution,
    examples_first,
    global_average,
    linear,
    max_pool,
    normalize,
)
from networks.network import Network, Params, Statistics

LAYERS = 3
ACTIVATIONS_HERE = ACTIVATIONS | {"leaky_relu": partial(F.leaky_relu, negative_slope=0.1)}


def resnet12(
    input_shape: tuple[int, ...],
    outputs: int,
    *,
    filters: int = 64,
    depth: int = 4,
    pool: str = "average",
    normalization: str = "batch",
    activation: str = "leaky_relu",
    residual: bool = True,
) -> Network:
    """Build `depth` residual blocks of three 3 x 3 convolutions each; then a linear layer.

    Oreshkin et al. 2018, arXiv:1805.10123 (TADAM), supplement: 4 blocks of 64, 128, 256 and 512
    filters, shortcuts, 2 x 2 maxima after each block, a global average. Lee et al. 2019,
    arXiv:1904.03025 (MetaOptNet), section 4.1: leaky rectifiers of slope 0.1, and no average. A
    block's layers are "blockN.layer1" to "blockN.layer3" and "blockN.shortcut" (a 1 x 1
    convolution), each a convolution (weight) and its normalization (scale, shift).

    filters: of the first block; each further block has twice as many.
    pool: "average" of each map over its positions, or "flatten" for all positions.
    normalization: see `networks.layers.normalize`. A convolution has a bias only without one.
    activation: after each layer, and of the third one after the shortcut is added; "leaky_relu"
        has slope 0.1 here.
    residual: False leaves the shortcuts out.
    A map of side 1 is not halved again. Raises NetworkError for another pool.
    """
    check_word("pool", pool, ("average", "flatten"))
    channels, height, width = input_shape
    activate = ACTIVATIONS_HERE[activation]
    widths = [filters * 2**i for i in range(depth)]
    halves: list[bool] = []
    for _ in widths:
        halves.append(min(height, width) > 1)
        if halves[-1]:
            height, width = height // 2, width // 2

    def init(rng: torch.Generator) -> Params:
        params: Params = {}

        def add(layer: str, fan_in: int, fan_out: int, kernel: int) -> None:
            params[f"{layer}.weight"] = fan_out_weight(fan_in, fan_out, rng, kernel)
            if normalization == "none":
                params[f"{layer}.bias"] = torch.zeros(fan_out)
            else:
                params[f"{layer}.scale"] = torch.ones(fan_out)
                params[f"{layer}.shift"] = torch.zeros(fan_out)

        fan_in = channels
        for number, fan_out in enumerate(widths, start=1):
            for i in range(1, LAYERS + 1):
                add(f"block{number}.layer{i}", fan_in if i == 1 else fan_out, fan_out, 3)
            if residual:
                add(f"block{number}.shortcut", fan_in, fan_out, 1)
            fan_in = fan_out
        size = fan_in if pool == "average" else fan_in * height * width
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

        def apply(layer: str, maps: Tensor) -> Tensor:
            maps = convolution(params[f"{layer}.weight"], params.get(f"{layer}.bias"), maps)
            return normalize(normalization, params, layer, maps, statistics, into)

        maps = examples_first(inputs, normalization)
        for number, halve in enumerate(halves, start=1):
            before = maps
            for i in range(1, LAYERS + 1):
                maps = apply(f"block{number}.layer{i}", maps)
                if i == LAYERS and residual:
                    maps = maps + apply(f"block{number}.shortcut", before)
                maps = activate(maps)
            if halve:
                maps = max_pool(maps)
        hidden = global_average(maps) if pool == "average" else maps.flatten(2)
        return hidden.transpose(0, 1), collected

    def head(params: Params, hidden: Tensor) -> Tensor:
        return linear(params["head.weight"], params["head.bias"], hidden)

    names = ("head.weight", "head.bias")
    return Network("resnet12", init, features, head, names, normalization == "batch")

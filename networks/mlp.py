"""Fully connected network; with 2 layers of 40 the regressor of Finn et al. 2017, section 5.1."""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor

from networks.errors import check_word
from networks.initialization import linear_parameters
from networks.layers import ACTIVATIONS, layer_normalize, linear
from networks.network import Network, Params, Statistics


def mlp(
    input_shape: tuple[int, ...],
    outputs: int,
    *,
    width: int = 40,
    depth: int = 2,
    normalization: str = "none",
    activation: str = "relu",
    residual: bool = False,
) -> Network:
    """Build a network of `depth` hidden layers of `width` units; inputs are flattened.

    normalization: "layer" (Ba et al. 2016) between a layer and its activation, or "none".
    residual: every hidden layer but the first, which alone changes the width, adds its input.
    Raises NetworkError for another normalization.
    """
    check_word("normalization", normalization, ("none", "layer"))
    activate = ACTIVATIONS[activation]
    sizes = [math.prod(input_shape)] + [width] * depth

    def init(rng: torch.Generator) -> Params:
        params: Params = {}
        for i, (fan_in, fan_out) in enumerate(pairwise(sizes), start=1):
            layer = linear_parameters(fan_in, fan_out, rng)
            params[f"layer{i}.weight"], params[f"layer{i}.bias"] = layer
            if normalization == "layer":
                params[f"layer{i}.scale"] = torch.ones(fan_out)
                params[f"layer{i}.shift"] = torch.zeros(fan_out)
        params["head.weight"], params["head.bias"] = linear_parameters(sizes[-1], outputs, rng)
        return params

    def features(
        params: Params,
        inputs: Tensor,
        statistics: Statistics | None = None,
        collect: bool = False,
    ) -> tuple[Tensor, Statistics]:
        hidden = inputs.flatten(2)
        for i in range(1, depth + 1):
            layer = linear(params[f"layer{i}.weight"], params[f"layer{i}.bias"], hidden)
            if normalization == "layer":
                layer = layer_normalize(params[f"layer{i}.scale"], params[f"layer{i}.shift"], layer)
            hidden = activate(layer) + hidden if residual and i > 1 else activate(layer)
        return hidden, {}

    def head(params: Params, hidden: Tensor) -> Tensor:
        return linear(params["head.weight"], params["head.bias"], hidden)

    return Network("mlp", init, features, head, ("head.weight", "head.bias"), False)

"""Fully connected network; with 2 layers of 40 the regressor of Finn et al. 2017, section 5.1."""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor

from networks.initialization import linear_parameters
from networks.layers import ACTIVATIONS, linear
from networks.network import Network, Params, Statistics


def mlp(
    input_shape: tuple[int, ...],
    outputs: int,
    *,
    width: int = 40,
    depth: int = 2,
    activation: str = "relu",
) -> Network:
    """Build a network of `depth` hidden layers of `width` units; inputs are flattened."""
    activate = ACTIVATIONS[activation]
    sizes = [math.prod(input_shape)] + [width] * depth

    def init(rng: torch.Generator) -> Params:
        params: Params = {}
        for i, (fan_in, fan_out) in enumerate(pairwise(sizes), start=1):
            layer = linear_parameters(fan_in, fan_out, rng)
            params[f"layer{i}.weight"], params[f"layer{i}.bias"] = layer
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
            hidden = activate(layer)
        return hidden, {}

    def head(params: Params, hidden: Tensor) -> Tensor:
        return linear(params["head.weight"], params["head.bias"], hidden)

    return Network("mlp", init, features, head, ("head.weight", "head.bias"), False)

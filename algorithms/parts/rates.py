"""Inner learning rates: one, or one a layer, a parameter entry, or a layer and step."""

from __future__ import annotations

import torch
from torch import Tensor

from algorithms.algorithm import Hyper
from algorithms.parts.layers import layer_of
from networks.network import Params

RATE = "rate/"


def learned_rates(granularity: str, shapes: dict[str, torch.Size], hyper: Hyper) -> Params:
    """Return rates that all start at `inner_lr`, as meta-parameters.

    granularity: "one" -> "rate/all", (); "layer" -> "rate/<layer>", (); "layer_step" ->
        "rate/<layer>", (inner_steps,); "parameter" -> "rate/<parameter>", of the parameter's shape.
    """
    start = torch.as_tensor(hyper["inner_lr"])
    rates: Params = {}
    for name, shape in shapes.items():
        key = _key(granularity, name)
        if granularity == "parameter":
            rates[key] = start.expand(shape).clone()
        elif granularity == "layer_step":
            rates[key] = start.expand(int(hyper["inner_steps"])).clone()
        else:
            rates[key] = start.clone()
    return rates


def rated(meta: Params, granularity: str, name: str, direction: Tensor, step: int) -> Tensor:
    """Return a direction (T, *shape) times its learned rate.

    Beyond the last step that has rates of its own, that step's are used.
    """
    rate = meta[_key(granularity, name)]
    if granularity == "parameter":
        return rate * direction
    if granularity == "layer_step":
        rate = rate[..., min(step, rate.shape[-1] - 1)]
    return rate.reshape(-1, *[1] * (direction.dim() - 1)) * direction


def _key(granularity: str, name: str) -> str:
    if granularity == "one":
        return RATE + "all"
    return RATE + (name if granularity == "parameter" else layer_of(name))

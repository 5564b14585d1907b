"""Functional versions, with an episode axis, of the modules of a traced model.

Values flow as the model has them, (N * T, ...) with examples first, so that whatever has no
parameters runs as it is. Only layers with parameters see the two axes apart.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from networks.errors import NetworkError
from networks.layers import convolution, layer_normalize, linear, normalize
from networks.network import Params, Statistics


@dataclass(frozen=True)
class Pass:
    """One run of a model: its parameters and axes, and its batch statistics.

    statistics, collected: see `networks.layers.normalize`.
    """

    params: Params
    episodes: int
    statistics: Statistics | None
    collected: Statistics | None

    def apart(self, value: Tensor) -> Tensor:
        """View (N * T, ...) as (N, T, ...)."""
        return value.unflatten(0, (-1, self.episodes))

    def parameter(self, name: str, dimensions: int, examples: int) -> Tensor:
        """Return a parameter of its own in the model, such that it broadcasts over (N * T, ...)."""
        value = self.params[name]
        if value.dim() == dimensions:
            return value
        return value.expand(examples, *value.shape).flatten(0, 1)


Layer = Callable[[Pass, str, Any, Tensor], Tensor]
"""(run, path in the model, module, value (N * T, ...)) -> value."""


def _convolution(run: Pass, path: str, module: nn.Conv2d, value: Tensor) -> Tensor:
    out = convolution(
        run.params[f"{path}.weight"],
        run.params.get(f"{path}.bias"),
        run.apart(value),
        module.stride,  # type: ignore[arg-type]
        padding=module.padding,  # type: ignore[arg-type]
        dilation=module.dilation,  # type: ignore[arg-type]
        groups=module.groups,
    )
    return out.flatten(0, 1)


def _linear(run: Pass, path: str, module: nn.Linear, value: Tensor) -> Tensor:
    by_episode = run.apart(value).transpose(0, 1)
    out = linear(
        run.params[f"{path}.weight"],
        run.params[f"{path}.bias"],
        by_episode.reshape(run.episodes, -1, value.shape[-1]),
    )
    return out.view(*by_episode.shape[:-1], -1).transpose(0, 1).flatten(0, 1)


def _batch_norm(run: Pass, path: str, module: nn.BatchNorm2d, value: Tensor) -> Tensor:
    maps = run.apart(value)
    out = normalize(
        "batch", run.params, path, maps, run.statistics, run.collected, epsilon=module.eps
    )
    return out.flatten(0, 1)


def _layer_norm(run: Pass, path: str, module: nn.LayerNorm, value: Tensor) -> Tensor:
    scale, shift = run.params[f"{path}.scale"], run.params[f"{path}.shift"]
    by_episode = run.apart(value).transpose(0, 1)
    out = layer_normalize(scale, shift, by_episode, module.eps)
    return out.transpose(0, 1).flatten(0, 1)


def _layer_norm_of_maps(run: Pass, path: str, module: nn.LayerNorm, value: Tensor) -> Tensor:
    """Over the channels of (N * T, C, H, W)."""
    return _layer_norm(run, path, module, value.movedim(1, -1)).movedim(-1, 1)


def _group_norm(run: Pass, path: str, module: nn.GroupNorm, value: Tensor) -> Tensor:
    out = run.apart(F.group_norm(value, module.num_groups, eps=module.eps))
    scale, shift = run.params[f"{path}.scale"], run.params[f"{path}.shift"]
    return (out * scale[..., None, None] + shift[..., None, None]).flatten(0, 1)


def _hard_sigmoid(run: Pass, path: str, module: nn.Module, value: Tensor) -> Tensor:
    """torch's own has no second derivative (2.14)."""
    return F.relu6(value + 3) / 6


def _unchanged(run: Pass, path: str, module: nn.Module, value: Tensor) -> Tensor:
    """Regularization by chance is left out."""
    return value


def _as_it_is(run: Pass, path: str, module: nn.Module, value: Tensor) -> Tensor:
    return module(value)


NORMALIZATIONS = ("BatchNorm2d", "LayerNorm", "LayerNorm2d", "GroupNorm")
"""Modules whose weight and bias are called scale and shift here."""

LAYERS: dict[str, Layer] = {
    "Conv2d": _convolution,
    "Linear": _linear,
    "BatchNorm2d": _batch_norm,
    "LayerNorm": _layer_norm,
    "LayerNorm2d": _layer_norm_of_maps,
    "GroupNorm": _group_norm,
    "Hardsigmoid": _hard_sigmoid,
    **dict.fromkeys(("Dropout", "Dropout2d", "StochasticDepth"), _unchanged),
    **dict.fromkeys(
        (
            *("ReLU", "ReLU6", "LeakyReLU", "ELU", "GELU", "SiLU", "Sigmoid", "Tanh"),
            *("Hardswish", "Mish", "Softplus"),
            *("MaxPool2d", "AvgPool2d", "AdaptiveAvgPool2d", "AdaptiveMaxPool2d"),
            *("Flatten", "Identity", "Permute", "ZeroPad2d", "ChannelShuffle"),
        ),
        _as_it_is,
    ),
}
"""By the name of the module's type, in torch.nn or torchvision."""

FUNCTIONS: tuple[Callable[..., Any], ...] = (
    *(operator.add, operator.mul, operator.getitem, operator.floordiv),
    *(torch.add, torch.mul, torch.cat, torch.flatten, torch.transpose, torch.permute),
    *(F.relu, F.relu6, F.gelu, F.silu, F.hardswish, torch.relu, torch.sigmoid),
    *(F.adaptive_avg_pool2d, F.avg_pool2d, F.max_pool2d),
)
"""Functions without parameters that leave the examples apart; they run as they are."""

METHODS = frozenset(
    ("size", "view", "reshape", "contiguous", "chunk", "mean", "permute", "transpose", "flatten")
)
"""The same of methods of tensors."""


def check_layer(model: str, path: str, module: nn.Module) -> None:
    """Raise NetworkError when a module has no functional version."""
    kind = type(module).__name__
    home = type(module).__module__.partition(".")[0]
    problem = ""
    if kind not in LAYERS or home not in ("torch", "torchvision"):
        problem = "has no version with an episode axis"
    elif isinstance(module, nn.Conv2d) and (
        module.padding_mode != "zeros" or isinstance(module.padding, str)
    ):
        problem = f"pads by {module.padding_mode} {module.padding}, not by a number of zeros"
    elif isinstance(module, nn.Linear) and module.bias is None:
        problem = "has no bias"
    elif kind in NORMALIZATIONS and getattr(module, "bias", None) is None:
        problem = "does not scale and shift"
    elif isinstance(module, nn.LayerNorm) and len(module.normalized_shape) != 1:
        problem = "normalizes over more than the last axis"
    if problem:
        raise NetworkError(
            f"model: {model}: its layer {path} ({kind}) {problem}; choose another model"
        )


def parameter_name(path: str, module: nn.Module, name: str) -> str:
    """Return what a module's parameter is called here: a normalization's are scale and shift."""
    if type(module).__name__ in NORMALIZATIONS:
        name = {"weight": "scale", "bias": "shift"}[name]
    return f"{path}.{name}"

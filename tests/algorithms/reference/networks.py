"""The networks without an episode axis, with places where an algorithm reaches into a layer."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

Weights = dict[str, Tensor]
Moments = dict[str, tuple[Tensor, Tensor]]
"""Mean and variance, each (channels,), by layer."""

EPSILON = 1e-5


class Pass(NamedTuple):
    """outputs (N, outputs), the features below the last layer (N, F), the batch's moments."""

    outputs: Tensor
    features: Tensor
    moments: Moments


class Context(NamedTuple):
    """A vector (size,), and matrices (outputs, size) by the parameter that they stand beside."""

    vector: Tensor
    matrices: Weights

    def reach(self, name: str) -> Tensor | None:
        return self.matrices[name] @ self.vector if name in self.matrices else None


class Forward(Protocol):
    """statistics: what batch normalization is to use; None for the batch's own.

    maps: matrices (outputs, outputs) that are applied to what a layer emits, by layer.
    """

    def __call__(
        self,
        weights: Weights,
        inputs: Tensor,
        statistics: Moments | None = None,
        *,
        maps: Weights | None = None,
        context: Context | None = None,
    ) -> Pass: ...


def mlp(
    depth: int,
    normalization: str = "none",
    activation: Callable[[Tensor], Tensor] = torch.tanh,
    residual: bool = False,
) -> Forward:
    def forward(
        weights: Weights,
        inputs: Tensor,
        statistics: Moments | None = None,
        *,
        maps: Weights | None = None,
        context: Context | None = None,
    ) -> Pass:
        hidden = inputs.reshape(len(inputs), -1)
        for i in range(1, depth + 1):
            layer = f"layer{i}"
            weight, before = weights[f"{layer}.weight"], hidden
            if context is not None and f"{layer}.bias" in context.matrices:
                # The context beside the inputs, its matrix beside their weights.
                beside = context.vector.expand(len(hidden), -1)
                hidden = torch.cat([hidden, beside], 1)
                weight = torch.cat([weight, context.matrices[f"{layer}.bias"]], 1)
            hidden = hidden @ weight.T + weights[f"{layer}.bias"]
            hidden = _mapped(maps, layer, hidden)
            if normalization == "layer":
                standard = _standardized(hidden, *_moments(hidden, (1,)))
                hidden = _scaled(weights, layer, standard, context)
            hidden = activation(hidden)
            if residual and i > 1:
                hidden = hidden + before
        return _with_head(weights, hidden, {}, maps)

    return forward


def conv4(depth: int, downsample: str, normalization: str, residual: bool = False) -> Forward:
    def forward(
        weights: Weights,
        inputs: Tensor,
        statistics: Moments | None = None,
        *,
        maps: Weights | None = None,
        context: Context | None = None,
    ) -> Pass:
        found: Moments = {}
        planes = inputs
        for i in range(1, depth + 1):
            block, before = f"block{i}", planes
            halve = min(planes.shape[-2:]) > 1
            stride = 2 if halve and downsample == "stride" else 1
            bias = weights.get(f"{block}.bias")
            planes = F.conv2d(planes, weights[f"{block}.weight"], bias, stride, padding=1)
            reached = None if context is None else context.reach(f"{block}.bias")
            if reached is not None:
                planes = planes + reached.view(-1, 1, 1)
            planes = _mapped(maps, block, planes)
            if normalization == "batch":
                moments = _moments(planes, (0, 2, 3))
                found[block] = moments[0].flatten(), moments[1].flatten()
                if statistics is not None:
                    mean, variance = statistics[block]
                    moments = mean.view(1, -1, 1, 1), variance.view(1, -1, 1, 1)
                planes = _standardized(planes, *moments)
            elif normalization == "layer":
                planes = _standardized(planes, *_moments(planes, (1, 2, 3)))
            elif normalization == "group":
                groups = planes.reshape(len(planes), math.gcd(8, planes.shape[1]), -1)
                planes = _standardized(groups, *_moments(groups, (2,))).view_as(planes)
            if normalization != "none":
                planes = _scaled(weights, block, planes, context)
            if residual:
                shortcut = f"{block}.shortcut"
                if f"{shortcut}.weight" in weights:
                    before = F.conv2d(before, weights[f"{shortcut}.weight"], None, stride)
                    before = _mapped(maps, shortcut, before)
                planes = planes + before
            planes = F.silu(planes)
            if halve and downsample == "pool":
                planes = F.max_pool2d(planes, 2)
            elif halve and downsample == "average":
                planes = F.avg_pool2d(planes, 2)
        return _with_head(weights, planes.flatten(1), found, maps)

    return forward


def unet(depth: int, normalization: str) -> Forward:
    """Two convolutions to a level; features and outputs have their channels last."""

    def forward(
        weights: Weights,
        inputs: Tensor,
        statistics: Moments | None = None,
        *,
        maps: Weights | None = None,
        context: Context | None = None,
    ) -> Pass:
        found: Moments = {}

        def through(block: str, planes: Tensor) -> Tensor:
            for layer in (f"{block}.layer1", f"{block}.layer2"):
                bias = weights.get(f"{layer}.bias")
                planes = F.conv2d(planes, weights[f"{layer}.weight"], bias, padding=1)
                reached = None if context is None else context.reach(f"{layer}.bias")
                if reached is not None:
                    planes = planes + reached.view(-1, 1, 1)
                planes = _mapped(maps, layer, planes)
                if normalization == "batch":
                    moments = _moments(planes, (0, 2, 3))
                    found[layer] = moments[0].flatten(), moments[1].flatten()
                    if statistics is not None:
                        mean, variance = statistics[layer]
                        moments = mean.view(1, -1, 1, 1), variance.view(1, -1, 1, 1)
                    planes = _scaled(weights, layer, _standardized(planes, *moments), context)
                planes = F.silu(planes)
            return planes

        kept, planes = [], inputs
        for level in range(1, depth + 1):
            kept.append(through(f"down{level}", planes))
            planes = F.max_pool2d(kept[-1], 2)
        planes = through("bottom", planes)
        for level in range(depth, 0, -1):
            up = f"up{level}"
            planes = F.conv2d(planes, weights[f"{up}.weight"], weights[f"{up}.bias"])
            planes = F.pixel_shuffle(_mapped(maps, up, planes), 2)
            across = kept[level - 1]
            height, width = (a - b for a, b in zip(across.shape[2:], planes.shape[2:], strict=True))
            planes = F.pad(planes, (0, width, 0, height))
            planes = through(f"merge{level}", torch.cat([across, planes], 1))
        features = planes.permute(0, 2, 3, 1)
        outputs = features @ weights["head.weight"].T + weights["head.bias"]
        if maps is not None:
            outputs = outputs @ maps["head"].T
        return Pass(outputs, features, found)

    return forward


def _with_head(weights: Weights, features: Tensor, moments: Moments, maps: Weights | None) -> Pass:
    if "head.weight" not in weights:
        return Pass(features, features, moments)
    outputs = features @ weights["head.weight"].T + weights["head.bias"]
    return Pass(_mapped(maps, "head", outputs), features, moments)


def _mapped(maps: Weights | None, layer: str, emitted: Tensor) -> Tensor:
    if maps is None or layer not in maps:
        return emitted
    return torch.einsum("oc,nc...->no...", maps[layer], emitted)


def _scaled(weights: Weights, layer: str, standard: Tensor, context: Context | None) -> Tensor:
    """Scale and shift channels; then FiLM of the context, which looks at the same maps."""
    shape = (-1, *[1] * (standard.dim() - 2))
    scale, shift = weights[f"{layer}.scale"], weights[f"{layer}.shift"]
    result = standard * scale.view(shape) + shift.view(shape)
    if context is not None:
        factor, offset = context.reach(f"{layer}.scale"), context.reach(f"{layer}.shift")
        if factor is not None and offset is not None:
            result = result + standard * factor.view(shape) + offset.view(shape)
    return result


def _moments(values: Tensor, axes: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    mean = values.mean(axes, keepdim=True)
    return mean, ((values - mean) ** 2).mean(axes, keepdim=True)


def _standardized(values: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
    return (values - mean) / (variance + EPSILON).sqrt()

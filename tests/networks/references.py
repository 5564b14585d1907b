"""Second implementations of the network families: one episode at a time, torch.nn.functional."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision import models

from networks import Params

Moments = dict[str, tuple[Tensor, Tensor]]
Reference = Callable[[Params, Tensor, Moments | None], tuple[Tensor, Moments]]
"""(parameters, inputs (N, ...), given statistics) of an episode -> (outputs, its statistics)."""

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": F.relu,
    "leaky_relu": F.leaky_relu,
    "tanh": torch.tanh,
    "silu": F.silu,
    "gelu": F.gelu,
    "sine": lambda maps: (10 * maps).sin(),
}


def moments(maps: Tensor) -> tuple[Tensor, Tensor]:
    values = maps.transpose(0, 1).flatten(1)
    mean = values.sum(1) / values.shape[1]
    return mean, (values - mean[:, None]).square().sum(1) / values.shape[1]


def plain_batch_norm(
    maps: Tensor, statistics: tuple[Tensor, Tensor], scale: Tensor, shift: Tensor, epsilon: float
) -> Tensor:
    mean, variance = (value[:, None, None] for value in statistics)
    return (maps - mean) / (variance + epsilon).sqrt() * scale[:, None, None] + shift[:, None, None]


class Normalizer:
    """Normalizes maps (N, C, H, W) layer by layer, and keeps the batch's statistics."""

    def __init__(self, kind: str, params: Params, given: Moments | None):
        self.kind, self.params, self.given = kind, params, given
        self.own: Moments = {}

    def __call__(self, layer: str, maps: Tensor) -> Tensor:
        if self.kind == "none":
            return maps
        scale, shift = self.params[f"{layer}.scale"], self.params[f"{layer}.shift"]
        if self.kind == "batch":
            self.own[layer] = moments(maps)
            used = self.own if self.given is None else self.given
            return plain_batch_norm(maps, used[layer], scale, shift, 1e-5)
        channels = maps.shape[1]
        groups = 1 if self.kind == "layer" else math.gcd(8, channels)
        return F.group_norm(maps, groups, scale, shift)


def mlp(settings: dict[str, Any]) -> Reference:
    def run(params: Params, inputs: Tensor, given: Moments | None) -> tuple[Tensor, Moments]:
        hidden = inputs.flatten(1)
        for i in range(1, settings["depth"] + 1):
            before = hidden
            hidden = F.linear(hidden, params[f"layer{i}.weight"], params[f"layer{i}.bias"])
            if settings.get("normalization") == "layer":
                scale, shift = params[f"layer{i}.scale"], params[f"layer{i}.shift"]
                hidden = F.layer_norm(hidden, hidden.shape[1:], scale, shift)
            hidden = ACTIVATIONS[settings["activation"]](hidden)
            if settings.get("residual") and i > 1:
                hidden = hidden + before
        return F.linear(hidden, params["head.weight"], params["head.bias"]), {}

    return run


def conv4(settings: dict[str, Any]) -> Reference:
    def run(params: Params, inputs: Tensor, given: Moments | None) -> tuple[Tensor, Moments]:
        norm = Normalizer(settings["normalization"], params, given)
        maps = inputs
        for i in range(1, settings["depth"] + 1):
            block, before = f"block{i}", maps
            stride = 2 if settings["downsample"] == "stride" and min(maps.shape[2:]) > 1 else 1
            weight, bias = params[f"{block}.weight"], params.get(f"{block}.bias")
            maps = norm(block, F.conv2d(maps, weight, bias, stride=stride, padding=1))
            if settings.get("residual"):
                if f"{block}.shortcut.weight" in params:
                    before = F.conv2d(before, params[f"{block}.shortcut.weight"], stride=stride)
                maps = maps + before
            maps = ACTIVATIONS[settings["activation"]](maps)
            if settings["downsample"] != "stride" and min(maps.shape[2:]) > 1:
                pool = F.max_pool2d if settings["downsample"] == "pool" else F.avg_pool2d
                maps = pool(maps, 2)
        return F.linear(maps.flatten(1), params["head.weight"], params["head.bias"]), norm.own

    return run


def resnet12(settings: dict[str, Any]) -> Reference:
    def run(params: Params, inputs: Tensor, given: Moments | None) -> tuple[Tensor, Moments]:
        norm = Normalizer(settings["normalization"], params, given)

        def layer(name: str, maps: Tensor, padding: int) -> Tensor:
            weight, bias = params[f"{name}.weight"], params.get(f"{name}.bias")
            return norm(name, F.conv2d(maps, weight, bias, padding=padding))

        def activate(maps: Tensor) -> Tensor:
            if settings["activation"] == "leaky_relu":
                return torch.where(maps > 0, maps, 0.1 * maps)
            return ACTIVATIONS[settings["activation"]](maps)

        maps = inputs
        for i in range(1, settings["depth"] + 1):
            block, before = f"block{i}", maps
            maps = activate(layer(f"{block}.layer1", maps, 1))
            maps = activate(layer(f"{block}.layer2", maps, 1))
            maps = layer(f"{block}.layer3", maps, 1)
            if settings["residual"]:
                maps = maps + layer(f"{block}.shortcut", before, 0)
            maps = activate(maps)
            if min(maps.shape[2:]) > 1:
                maps = F.max_pool2d(maps, 2)
        hidden = maps.mean((2, 3)) if settings["pool"] == "average" else maps.flatten(1)
        return F.linear(hidden, params["head.weight"], params["head.bias"]), norm.own

    return run


def vit(settings: dict[str, Any]) -> Reference:
    patch, width = settings["patch"], settings["width"]

    def run(params: Params, inputs: Tensor, given: Moments | None) -> tuple[Tensor, Moments]:
        def layer(name: str, vectors: Tensor) -> Tensor:
            return F.linear(vectors, params[f"{name}.weight"], params[f"{name}.bias"])

        def norm(name: str, vectors: Tensor) -> Tensor:
            return F.layer_norm(vectors, (width,), params[f"{name}.scale"], params[f"{name}.shift"])

        right, below = -inputs.shape[3] % patch, -inputs.shape[2] % patch
        images = F.pad(inputs, (0, right, 0, below))
        kernel = params["embedding.weight"].view(width, inputs.shape[1], patch, patch)
        maps = F.conv2d(images, kernel, params["embedding.bias"], stride=patch)
        hidden = maps.flatten(2).transpose(1, 2)
        if settings["readout"] == "class":
            token = params["embedding.token"].expand(len(inputs), 1, width)
            hidden = torch.cat([token, hidden], 1)
        hidden = hidden + params["embedding.positions"]
        for i in range(1, settings["depth"] + 1):
            normed = norm(f"block{i}.norm1", hidden).transpose(0, 1)
            mixed, _ = F.multi_head_attention_forward(
                *(normed, normed, normed, width, settings["heads"]),
                *(params[f"block{i}.mix.weight"], params[f"block{i}.mix.bias"]),
                *(None, None, False, 0.0),
                *(params[f"block{i}.projection.weight"], params[f"block{i}.projection.bias"]),
                need_weights=True,
            )
            hidden = hidden + mixed.transpose(0, 1)
            inner = layer(f"block{i}.hidden", norm(f"block{i}.norm2", hidden))
            hidden = hidden + layer(f"block{i}.output", ACTIVATIONS[settings["activation"]](inner))
        hidden = norm("norm", hidden)
        hidden = hidden[:, 0] if settings["readout"] == "class" else hidden.mean(1)
        return F.linear(hidden, params["head.weight"], params["head.bias"]), {}

    return run


class PlainHardsigmoid(nn.Module):
    """In the place of torch's own, which has no second derivative."""

    def forward(self, value: Tensor) -> Tensor:
        return (value / 6 + 0.5).clamp(0, 1)


class PlainBatchNorm(nn.Module):
    """In the place of torchvision's own, whose stored statistics have no gradient."""

    def __init__(self, replaced: nn.BatchNorm2d):
        super().__init__()
        self.weight, self.bias, self.eps = replaced.weight, replaced.bias, replaced.eps
        self.given: tuple[Tensor, Tensor] | None = None
        self.own: tuple[Tensor, Tensor] | None = None

    def forward(self, maps: Tensor) -> Tensor:
        self.own = moments(maps)
        used = self.own if self.given is None else self.given
        return plain_batch_norm(maps, used, self.weight, self.bias, self.eps)


def original_names(module: nn.Module, params: Params) -> Params:
    """Give parameters the names that they have in torchvision's model."""
    known = dict(module.named_parameters())
    result: Params = {}
    for name, value in params.items():
        layer, _, kind = name.rpartition(".")
        original = {"scale": "weight", "shift": "bias"}.get(kind, kind)
        result[name if name in known else f"{layer}.{original}"] = value
    assert set(result) == set(known)
    return result


def torchvision_module(model: str, outputs: int, channels: int = 3) -> nn.Module:
    """torchvision's own model in float64, without what it does by chance."""
    quiet = {"aux_logits": False, "init_weights": True} if model == "googlenet" else {}
    module = models.get_model(model, weights=None, num_classes=outputs, **quiet).double().eval()
    for layer in module.modules():
        if hasattr(layer, "inplace"):
            layer.inplace = False
    return module


def torchvision_reference(model: str, outputs: int) -> Reference:
    module = torchvision_module(model, outputs)
    for path, layer in list(module.named_modules()):
        if isinstance(layer, nn.Hardsigmoid):
            module.set_submodule(path, PlainHardsigmoid())
    replaced = {
        path: PlainBatchNorm(layer)
        for path, layer in module.named_modules()
        if isinstance(layer, nn.BatchNorm2d)
    }
    for path, layer in replaced.items():
        module.set_submodule(path, layer)

    def run(params: Params, inputs: Tensor, given: Moments | None) -> tuple[Tensor, Moments]:
        for path, layer in replaced.items():
            layer.given = None if given is None else given[path]
        found = torch.func.functional_call(module, original_names(module, params), (inputs,))
        own = {path: layer.own for path, layer in replaced.items() if layer.own is not None}
        return found, own

    return run

"""A small vision transformer; Dosovitskiy et al. 2021, arXiv:2010.11929, section 3.1."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from networks.errors import NetworkError, check_word
from networks.initialization import linear_parameters, uniform
from networks.layers import ACTIVATIONS, attention, layer_normalize, linear
from networks.network import Network, Params, Statistics

EXPANSION = 4
DEVIATION = 0.02


def vit(
    input_shape: tuple[int, ...],
    outputs: int,
    *,
    patch: int = 7,
    width: int = 192,
    depth: int = 12,
    heads: int = 3,
    activation: str = "gelu",
    readout: str = "class",
) -> Network:
    """Build `depth` pre-norm blocks of attention and a hidden layer of 4 times the width.

    The equations 1 to 4 of the paper without dropout: patches are embedded linearly
    ("embedding"), learned positions are added, each block adds what its attention ("blockN.mix",
    which makes queries, keys and values, and "blockN.projection") and its hidden layer
    ("blockN.hidden", "blockN.output") make of the normalized tokens ("blockN.norm1" and
    "blockN.norm2"), and "norm" normalizes the last ones. Layer normalization knows single
    tokens only, so that an example's output does not depend on others.

    patch: side of the square patches in pixels. Images are padded with zeros, right and below,
        to a multiple of it.
    heads: attention heads, each of width / heads.
    readout: features are the last "class" token, or the "mean" of all tokens.
    Raises NetworkError when heads do not divide the width, or a patch is larger than the image.
    """
    check_word("readout", readout, ("class", "mean"))
    channels, height, breadth = input_shape
    if patch > max(height, breadth):
        raise NetworkError(
            f"patch: {patch}: must be at most the side of the image, {max(height, breadth)}"
        )
    if width % heads:
        raise NetworkError(f"heads: {heads}: must divide width, {width}")
    activate = ACTIVATIONS[activation]
    rows, columns = math.ceil(height / patch), math.ceil(breadth / patch)
    padding = (0, columns * patch - breadth, 0, rows * patch - height)
    tokens = rows * columns + (readout == "class")
    blocks = [f"block{i}" for i in range(1, depth + 1)]

    def init(rng: torch.Generator) -> Params:
        params: Params = {}

        def add(layer: str, fan_in: int, fan_out: int) -> None:
            bound = math.sqrt(6 / (fan_in + fan_out))
            params[f"{layer}.weight"] = uniform((fan_out, fan_in), bound, rng)
            params[f"{layer}.bias"] = torch.zeros(fan_out)

        def add_norm(layer: str) -> None:
            params[f"{layer}.scale"] = torch.ones(width)
            params[f"{layer}.shift"] = torch.zeros(width)

        add("embedding", channels * patch * patch, width)
        params["embedding.positions"] = DEVIATION * torch.randn((tokens, width), generator=rng)
        if readout == "class":
            params["embedding.token"] = DEVIATION * torch.randn(width, generator=rng)
        for block in blocks:
            add_norm(f"{block}.norm1")
            add(f"{block}.mix", width, 3 * width)
            add(f"{block}.projection", width, width)
            add_norm(f"{block}.norm2")
            add(f"{block}.hidden", width, EXPANSION * width)
            add(f"{block}.output", EXPANSION * width, width)
        add_norm("norm")
        params["head.weight"], params["head.bias"] = linear_parameters(width, outputs, rng)
        return params

    def features(
        params: Params,
        inputs: Tensor,
        statistics: Statistics | None = None,
        collect: bool = False,
    ) -> tuple[Tensor, Statistics]:
        episodes, examples = inputs.shape[:2]

        def apply(layer: str, vectors: Tensor) -> Tensor:
            flat = vectors.flatten(1, 2)
            out = linear(params[f"{layer}.weight"], params[f"{layer}.bias"], flat)
            return out.unflatten(1, vectors.shape[1:3])

        def norm(layer: str, vectors: Tensor) -> Tensor:
            return layer_normalize(params[f"{layer}.scale"], params[f"{layer}.shift"], vectors)

        patches = F.pad(inputs, padding) if any(padding) else inputs
        patches = patches.reshape(episodes, examples, channels, rows, patch, columns, patch)
        patches = patches.permute(0, 1, 3, 5, 2, 4, 6).flatten(4).flatten(2, 3)
        hidden = apply("embedding", patches)
        if readout == "class":
            token = _one_for_each_example(params["embedding.token"], 1, hidden)
            hidden = torch.cat([token[:, :, None], hidden], 2)
        hidden = hidden + _one_for_each_example(params["embedding.positions"], 2, hidden)
        for block in blocks:
            mixed = apply(f"{block}.mix", norm(f"{block}.norm1", hidden))
            # (T, N, tokens, 3 x width) to three of (T, N, heads, tokens, width / heads)
            query, key, value = mixed.unflatten(3, (3, heads, -1)).permute(3, 0, 1, 4, 2, 5)
            read = attention(query, key, value).transpose(2, 3).flatten(3)
            hidden = hidden + apply(f"{block}.projection", read)
            inner = activate(apply(f"{block}.hidden", norm(f"{block}.norm2", hidden)))
            hidden = hidden + apply(f"{block}.output", inner)
        hidden = norm("norm", hidden)
        return hidden[:, :, 0] if readout == "class" else hidden.mean(2), {}

    def head(params: Params, hidden: Tensor) -> Tensor:
        return linear(params["head.weight"], params["head.bias"], hidden)

    return Network("vit", init, features, head, ("head.weight", "head.bias"), False)


def _one_for_each_example(value: Tensor, dimensions: int, hidden: Tensor) -> Tensor:
    """Expand a shared value, or one per episode, to hidden's axes T and N in front of its own."""
    own = value.unsqueeze(1) if value.dim() > dimensions else value
    return own.expand(*hidden.shape[:2], *value.shape[-dimensions:])

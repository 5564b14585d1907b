"""What inner gradients go through: layerwise linear maps, Kronecker-factored matrices, masks."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from algorithms.parts import noise
from algorithms.parts.axis import Ranks
from algorithms.parts.layers import kind_of, layer_of
from networks.network import Params

WARP, CURVATURE, MASK = "warp/", "curvature/", "mask/"
OF_OUTPUTS = ("weight", "bias", "scale", "shift")
"""Kinds of parameters whose first axis is that of their layer's outputs."""
Shapes = Mapping[str, torch.Size]


def layerwise_maps(shapes: Shapes) -> Params:
    """Return identity maps "warp/<layer>", (outputs, outputs), of every layer with a weight."""
    return {
        WARP + layer_of(name): torch.eye(shape[0])
        for name, shape in shapes.items()
        if kind_of(name) == "weight"
    }


def warped(meta: Params, params: Params, ranks: Ranks) -> Params:
    """Return parameters whose layers emit what a layerwise map makes of their outputs.

    Lee and Choi 2018, arXiv:1801.05558, equation 2: y = T (W x + b). T W and T b stand in for W and
    b, so that a gradient step on W moves T W by T T' times its own gradient.
    """
    result = dict(params)
    for key, matrix in meta.items():
        if key.startswith(WARP):
            for kind in ("weight", "bias"):
                name = f"{key.removeprefix(WARP)}.{kind}"
                if name in params:
                    result[name] = _outputs_mapped(matrix, params[name], ranks[name])
    return result


def _outputs_mapped(matrix: Tensor, value: Tensor, rank: int) -> Tensor:
    """Multiply the axis of outputs, the first of a shared value; either may be per episode."""
    shared = value.dim() == rank
    batch = value.unsqueeze(0) if shared else value
    product = matrix @ batch.flatten(2) if rank > 1 else (matrix @ batch.unsqueeze(2)).squeeze(2)
    product = product.reshape(-1, *batch.shape[1:])
    return product.squeeze(0) if shared and matrix.dim() == 2 else product


def curvature_matrices(shapes: Shapes) -> Params:
    """Return identity matrices "curvature/<parameter>/<axis>", one for each axis of a gradient.

    The positions of a convolution's kernel count as one axis; of a vector only the diagonal is
    learned, as in the authors' code.
    """
    matrices: Params = {}
    for name, shape in shapes.items():
        sizes = _sizes(shape)
        for axis, size in enumerate(sizes):
            identity = torch.eye(size) if len(sizes) > 1 else torch.ones(size)
            matrices[f"{CURVATURE}{name}/{axis}"] = identity
    return matrices


def curved(meta: Params, name: str, gradient: Tensor) -> Tensor:
    """Multiply every axis of a gradient (T, *shape) by its matrix.

    Park and Oliva 2019, arXiv:1902.03356, section 3.2: G x_3 M_f x_2 M_i x_1 M_o.
    """
    sizes = _sizes(gradient.shape[1:])
    if len(sizes) == 1:
        return gradient * meta[f"{CURVATURE}{name}/0"]
    found = gradient.reshape(-1, *sizes)
    for axis in range(len(sizes)):
        matrix = meta[f"{CURVATURE}{name}/{axis}"]
        last = found.movedim(axis + 1, -1)
        product = (last.flatten(1, -2) @ matrix.mT).reshape(last.shape)
        found = product.movedim(-1, axis + 1)
    return found.reshape(gradient.shape)


def _sizes(shape: torch.Size) -> list[int]:
    return [*shape[:2], shape[2:].numel()] if len(shape) > 2 else list(shape)


def mask_logits(shapes: Shapes, start: float = 0.0) -> Params:
    """Return logits "mask/<layer>", (outputs,), of every layer, as meta-parameters."""
    return {
        MASK + layer_of(name): torch.full((shape[0],), start)
        for name, shape in shapes.items()
        if kind_of(name) in OF_OUTPUTS
    }


def sampled_masks(meta: Params, keys: Tensor, temperature: float) -> Params:
    """Sample each episode's masks, (T, outputs) by layer, of zeros and ones.

    Lee and Choi 2018, section 3.2: Bernoulli variables by Gumbel-softmax, which for two classes is
    a logistic distribution in front of a sigmoid; derivatives are the sigmoid's ("straight
    through", as in the authors' code).
    """
    masks: Params = {}
    logits = {key: value for key, value in meta.items() if key.startswith(MASK)}
    for stream, (key, value) in enumerate(sorted(logits.items())):
        drawn = noise.logistic(keys, stream, value.shape[-1]).to(value.dtype)
        soft = torch.sigmoid((value + drawn) / temperature)
        hard = (soft > 0.5).to(soft.dtype)
        masks[key.removeprefix(MASK)] = hard + (soft - soft.detach())
    return masks


def masked(masks: Params, name: str, gradient: Tensor) -> Tensor:
    """Multiply a gradient (T, outputs, ...) by its layer's mask, where it has one.

    What is no layer's weight, such as learned positions, moves freely.
    """
    if kind_of(name) not in OF_OUTPUTS:
        return gradient
    mask = masks[layer_of(name)]
    return gradient * mask.reshape(*mask.shape, *[1] * (gradient.dim() - 2))

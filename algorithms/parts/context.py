"""A context vector: the only thing that an episode adapts, shifting a layer of a shared network."""

from __future__ import annotations

import torch

from networks.initialization import uniform
from networks.network import Params

CONTEXT, PROJECTION = "context", "context/"


def projections(shapes: dict[str, torch.Size], size: int, rng: torch.Generator) -> Params:
    """Return "context/<parameter>", (outputs, size), from a context to what it shifts."""
    bound = size**-0.5
    return {
        PROJECTION + name: uniform((*shape, size), bound, rng) for name, shape in shapes.items()
    }


def shifted(meta: Params, params: Params, context: torch.Tensor) -> Params:
    """Return parameters that a context, (T, size), has shifted, those with an axis T.

    Zintgraf et al. 2019, arXiv:1810.03642, section 3.1: inputs concatenated with a context are
    what a bias plus a linear map of the context is. Section 5.2: FiLM, where the bias is a
    normalization's scale and shift.
    """
    result = dict(params)
    for key, matrix in meta.items():
        if key.startswith(PROJECTION):
            name = key.removeprefix(PROJECTION)
            result[name] = params[name] + (matrix @ context.unsqueeze(-1)).squeeze(-1)
    return result

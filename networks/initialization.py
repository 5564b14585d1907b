"""Random initial parameters, drawn from an explicit generator."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def uniform(shape: tuple[int, ...], bound: float, rng: torch.Generator) -> Tensor:
    """Draw from U(-bound, bound)."""
    return (torch.rand(shape, generator=rng) * 2 - 1) * bound


def linear_parameters(inputs: int, outputs: int, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    """Weight (outputs, inputs) and bias (outputs,), both U(-1/sqrt(inputs), 1/sqrt(inputs)).

    The same distribution as `torch.nn.Linear`.
    """
    bound = 1 / math.sqrt(inputs)
    return uniform((outputs, inputs), bound, rng), uniform((outputs,), bound, rng)


def convolution_weight(inputs: int, outputs: int, rng: torch.Generator) -> Tensor:
    """Weight (outputs, inputs, 3, 3), uniform as of Glorot and Bengio 2010, equation 16."""
    return uniform((outputs, inputs, 3, 3), math.sqrt(6 / (9 * (inputs + outputs))), rng)

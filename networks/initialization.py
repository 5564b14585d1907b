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


def convolution_weight(inputs: int, outputs: int, rng: torch.Generator, kernel: int = 3) -> Tensor:
    """Weight (outputs, inputs, kernel, kernel), uniform as of Glorot and Bengio 2010, eq. 16."""
    bound = math.sqrt(6 / (kernel * kernel * (inputs + outputs)))
    return uniform((outputs, inputs, kernel, kernel), bound, rng)


def fan_out_weight(inputs: int, outputs: int, rng: torch.Generator, kernel: int = 3) -> Tensor:
    """Weight (outputs, inputs, kernel, kernel), normal as of He et al. 2015, section 2.2, backward.

    Its variance is 2 / (kernel^2 outputs).
    """
    deviation = math.sqrt(2 / (kernel * kernel * outputs))
    return torch.randn((outputs, inputs, kernel, kernel), generator=rng) * deviation

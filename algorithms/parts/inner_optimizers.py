"""Inner optimizers as pure functions, each differentiable through all of its steps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from algorithms.algorithm import Hyper
from algorithms.parts.axis import scaled

EPSILON = 1e-8
"""Inside the square root: outside of it the second derivative at zero is NaN."""

Slots = dict[str, Tensor]


@dataclass(frozen=True)
class InnerOptimizer:
    """(gradient, slots, hyper, step) -> (direction, slots), for one parameter, (T, *shape).

    slots: names of what is remembered from step to step, zero at first.
    step: how many were taken before.
    """

    slots: tuple[str, ...]
    update: Callable[[Tensor, Slots, Hyper, int], tuple[Tensor, Slots]]


def _sgd(gradient: Tensor, slots: Slots, hyper: Hyper, step: int) -> tuple[Tensor, Slots]:
    return gradient, slots


def _momentum(gradient: Tensor, slots: Slots, hyper: Hyper, step: int) -> tuple[Tensor, Slots]:
    moved = scaled(_number(hyper, "inner_momentum"), slots["momentum"]) + gradient
    return moved, {"momentum": moved}


def _rmsprop(gradient: Tensor, slots: Slots, hyper: Hyper, step: int) -> tuple[Tensor, Slots]:
    square = _mixed(slots["square"], gradient.square(), _number(hyper, "inner_decay"))
    return gradient * torch.rsqrt(square + EPSILON), {"square": square}


def _adam(gradient: Tensor, slots: Slots, hyper: Hyper, step: int) -> tuple[Tensor, Slots]:
    momentum, decay = _number(hyper, "inner_momentum"), _number(hyper, "inner_decay")
    mean = _mixed(slots["mean"], gradient, momentum)
    square = _mixed(slots["square"], gradient.square(), decay)
    unbiased_mean = scaled(1 / (1 - momentum ** (step + 1)), mean)
    unbiased_square = scaled(1 / (1 - decay ** (step + 1)), square)
    direction = unbiased_mean * torch.rsqrt(unbiased_square + EPSILON)
    return direction, {"mean": mean, "square": square}


def _number(hyper: Hyper, name: str) -> Tensor:
    return torch.as_tensor(hyper[name])


def _mixed(old: Tensor, new: Tensor, share: Tensor) -> Tensor:
    """Return share * old + (1 - share) * new."""
    return new + scaled(share, old - new)


INNER_OPTIMIZERS: dict[str, InnerOptimizer] = {
    "sgd": InnerOptimizer((), _sgd),
    "momentum": InnerOptimizer(("momentum",), _momentum),
    "rmsprop": InnerOptimizer(("square",), _rmsprop),
    "adam": InnerOptimizer(("mean", "square"), _adam),
}
"""Gradient descent; with heavy-ball momentum `inner_momentum`; RMSprop (Tieleman and Hinton 2012)
with `inner_decay`; Adam (Kingma and Ba 2015, algorithm 1) with both as beta_1 and beta_2. Since
epsilon is added to the square, entries of a gradient below 1e-4 move less than in torch.optim."""

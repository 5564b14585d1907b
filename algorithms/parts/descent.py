"""The inner loop: gradient descent on every episode's own parameters at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from networks.network import Params


def per_episode(params: Params, episodes: int) -> Params:
    """Give each of T episodes its own view (T, *shape) of shared parameters."""
    return {name: value.expand(episodes, *value.shape) for name, value in params.items()}


def requires_grad(params: Params) -> bool:
    """Whether anything in `params` is being differentiated."""
    return any(value.requires_grad for value in params.values())


def descend(
    loss: Callable[[Params], Tensor],
    params: Params,
    rates: Tensor | Mapping[str, Tensor],
    steps: int,
    *,
    differentiable: bool,
) -> Params:
    """Take `steps` steps of gradient descent on per-episode parameters (T, *shape).

    loss: per-episode parameters -> (T,). Episodes are independent, so the gradient of the sum
        holds each episode's own gradient.
    rates: one rate, or one by parameter name; anything that broadcasts against (T, *shape).
    differentiable: keep the graph through the gradients (second order). Without it they count as
        constants, and what flows back to the start is the first-order gradient.
    """
    names = list(params)
    for _ in range(steps):
        with torch.enable_grad():
            points = {name: _differentiable(value) for name, value in params.items()}
            gradients = torch.autograd.grad(
                loss(points).sum(), list(points.values()), create_graph=differentiable
            )
        params = {
            name: params[name] - (rates if isinstance(rates, Tensor) else rates[name]) * gradient
            for name, gradient in zip(names, gradients, strict=True)
        }
    return params


def _differentiable(value: Tensor) -> Tensor:
    """Return the value itself where a graph leads to it, else a leaf that one can start from."""
    return value if value.requires_grad else value.detach().requires_grad_()

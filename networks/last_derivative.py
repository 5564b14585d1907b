"""The end of differentiation, where no formula for the next derivative is given."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import torch


def last_derivative(backward: Callable[..., Any]) -> Callable[..., Any]:
    """Make a backward pass of a `torch.autograd.Function` one that cannot be differentiated.

    Whoever differentiates what it returned gets a RuntimeError, by whatever he does. torch's own
    `once_differentiable` raises in `Tensor.backward` alone: `torch.autograd.grad` by an input that
    is reached in another way, too, leaves this one out without a word.
    """

    @wraps(backward)
    def once(ctx: Any, *gradients: Any) -> Any:
        return _Last.apply(lambda: backward(ctx, *gradients), *gradients, *ctx.saved_tensors)

    return once


class _Last(torch.autograd.Function):
    """Calls a function of tensors that are given only so that what it returns depends on them."""

    @staticmethod
    def forward(ctx: Any, found: Callable[[], Any], *tensors: Any) -> Any:
        return found()

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        raise RuntimeError("batch normalization has no third derivative here: differentiate twice")

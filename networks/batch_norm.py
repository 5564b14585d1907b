"""Batch normalization by a batch's own statistics, with a second derivative that is fast.

torch's kernels for the forward and the backward pass are used as they are. What torch does for the
derivative of the backward pass sums one axis after the other and leaves the channels-last layout,
which takes longer than the convolutions around it; here it is one formula over rows of channels.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from networks.last_derivative import last_derivative

aten = torch.ops.aten
ROWS = (0, 2, 3)


def batch_normalize(images: Tensor, scale: Tensor, shift: Tensor, epsilon: float) -> Tensor:
    """Normalize images (N, C, H, W) over all but their channels, then scale and shift, each (C,).

    Twice differentiable: a third derivative raises RuntimeError.
    """
    normalized: Tensor = _Forward.apply(images, scale, shift, epsilon)
    return normalized


class _Forward(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, images: Tensor, scale: Tensor, shift: Tensor, epsilon: float) -> Tensor:
        out, mean, rate = aten.native_batch_norm(
            images, scale, shift, None, None, True, 0.0, epsilon
        )
        ctx.save_for_backward(images, scale, mean, rate)
        ctx.epsilon = epsilon
        return out

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        images, scale, mean, rate = ctx.saved_tensors
        found: tuple[Tensor, Tensor, Tensor] = _Backward.apply(
            gradient, images, scale, mean, rate, ctx.epsilon
        )
        return *found, None


class _Backward(torch.autograd.Function):
    """(gradient, images, scale) -> gradients by images, scale and shift."""

    @staticmethod
    def forward(
        ctx: Any,
        gradient: Tensor,
        images: Tensor,
        scale: Tensor,
        mean: Tensor,
        rate: Tensor,
        epsilon: float,
    ) -> tuple[Tensor, Tensor, Tensor]:
        ctx.save_for_backward(gradient, images, scale, mean, rate)
        found: tuple[Tensor, Tensor, Tensor] = aten.native_batch_norm_backward(
            gradient, images, scale, None, None, mean, rate, True, epsilon, [True, True, True]
        )
        return found

    @staticmethod
    @last_derivative
    def backward(
        ctx: Any, by_images: Tensor, by_scale: Tensor, by_shift: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, None, None, None]:
        """Return the derivatives of sum(u gx) + sum(v gs) + sum(w gb) by gradient, images, scale.

        With z = (x - mean) rate, and means over rows: gx = scale rate (g - mean(g) - z mean(g z)),
        gs = sum(g z), gb = sum(g). A change of x moves z by rate (dx - mean(dx) - z mean(z dx))
        and rate by -rate^2 mean(z dx).
        """
        g, x, scale, mean, rate = ctx.saved_tensors
        u, v, w = by_images, _channels(by_scale), _channels(by_shift)
        rate, scale = _channels(rate), _channels(scale)
        count = x.numel() // x.shape[1]
        z = (x - _channels(mean)) * rate
        g1, u1, gz, uz = _mean(g), _mean(u), _mean(g * z), _mean(u * z)
        gain = scale * rate
        # By the scale and the rate, which gx is proportional to.
        product = _mean(u * g) - u1 * g1 - uz * gz
        by_scale = (count * rate * product).flatten()
        # By the gradient: the backward pass is symmetric in it and in u. It and the next are sums
        # of u, z and g with a factor for each channel, so that maps are passed over only so often.
        by_z = v - gain * uz
        by_gradient = torch.addcmul(w - gain * u1, u, gain).addcmul_(z, by_z)
        # By z, and through it by the images; a map g by_z - u gain gz, less its projections.
        along = by_z * gz - gain * (uz * gz - product)
        by_x = torch.addcmul(rate * (gain * gz * u1 - by_z * g1), g, rate * by_z)
        by_x.addcmul_(u, -rate * gain * gz).addcmul_(z, -rate * along)
        return by_gradient, by_x, by_scale, None, None, None


def _channels(value: Tensor) -> Tensor:
    return value.view(1, -1, 1, 1)


def _mean(value: Tensor) -> Tensor:
    """Return the means of (N, C, H, W) over all but the channels, (1, C, 1, 1)."""
    rows = value.permute(0, 2, 3, 1)
    if rows.is_contiguous():
        return _channels(rows.flatten(0, 2).mean(0))
    return value.mean(ROWS, keepdim=True)

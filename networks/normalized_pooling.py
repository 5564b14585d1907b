"""Batch normalization, rectifier and 2 x 2 maxima of maps, as one operation on a CPU.

Step by step, torch passes over the maps of all images a dozen times for these three and their first
and second derivatives; each pass is bound by memory. All that depends on single places, though, is
what the maxima were picked from, a quarter of them. Here only that is normalized and rectified, and
whatever else the derivatives need are sums over the maps, and one line through them for each
channel. The formulas are those of `networks.batch_norm`; `networks.gpu.block` is this on a GPU.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from networks.last_derivative import last_derivative
from networks.pooling import WINDOW, maps_of, pick, places_in_rows, rows_of

aten = torch.ops.aten


def normalized_maxima(maps: Tensor, scale: Tensor, shift: Tensor, epsilon: float) -> Tensor:
    """Normalize maps (N, K, H, W) by their own statistics, rectify them and halve their sides.

    maps: in memory with channels last; so is what comes out, (N, K, H / 2, W / 2).
    scale, shift: (K,). Twice differentiable: a third derivative raises RuntimeError.
    """
    found: Tensor = _Forward.apply(maps, scale, shift, epsilon)
    return found


class _Forward(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, maps: Tensor, scale: Tensor, shift: Tensor, epsilon: float) -> Tensor:
        mean, variance = aten.batch_norm_update_stats(maps, None, None, 0.0)
        rate = torch.rsqrt(variance + epsilon)
        gain = scale * rate
        pooled, places = aten.max_pool2d_with_indices(_rising(maps, gain), *WINDOW)
        places = places_in_rows(places, maps)
        picked = pick(rows_of(maps), places)
        found = torch.addcmul(shift - mean * gain, picked, gain).clamp_(min=0)
        ctx.save_for_backward(maps, scale, mean, rate, picked, places, found > 0)
        return maps_of(found, pooled.shape)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        maps, scale, *kept = ctx.saved_tensors
        found: tuple[Tensor, Tensor, Tensor] = _Backward.apply(gradient, maps, scale, *kept)
        return *found, None


class _Backward(torch.autograd.Function):
    """(gradient, maps, scale) -> gradients by maps, scale and shift."""

    @staticmethod
    def forward(
        ctx: Any,
        gradient: Tensor,
        maps: Tensor,
        scale: Tensor,
        mean: Tensor,
        rate: Tensor,
        picked: Tensor,
        places: Tensor,
        passed: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        count = maps.numel() // len(scale)
        g = rows_of(gradient).where(passed, 0)
        z = (picked - mean) * rate
        total, product = g.sum(0), (g * z).sum(0)
        gain = scale * rate
        # gain (g - mean(g) - z mean(g z)), where g is 0 but in the places of the maxima.
        slope = -gain * rate * product / count
        by_maps = torch.addcmul(-gain * total / count - slope * mean, rows_of(maps), slope)
        _put(by_maps, places, g * gain)
        ctx.save_for_backward(g, maps, scale, mean, rate, z, places, passed, total, product)
        return maps_of(by_maps, maps.shape), product.clone(), total.clone()

    @staticmethod
    @last_derivative
    def backward(
        ctx: Any, by_maps: Tensor, by_scale: Tensor, by_shift: Tensor
    ) -> tuple[Tensor | None, ...]:
        """Return what `networks.batch_norm` does, with its names."""
        g, maps, scale, mean, rate, z, places, passed, total, product = ctx.saved_tensors
        images, channels, height, width = maps.shape
        pooled = images, channels, height // 2, width // 2
        count = images * height * width
        u = by_maps.contiguous(memory_format=torch.channels_last)
        # Of torch's backward pass its sums alone: of u z and of u.
        _, uz, u1 = aten.native_batch_norm_backward(
            u, maps, scale, None, None, mean, rate, True, 0.0, [False, True, True]
        )
        g1, gz, u1, uz = (each / count for each in (total, product, u1, uz))
        gain = scale * rate
        picked = pick(rows_of(u), places)
        shared = (picked * g).sum(0) / count - u1 * g1 - uz * gz
        by_z = by_scale - gain * uz
        by_gradient = torch.addcmul(by_shift - gain * u1, picked, gain).addcmul_(z, by_z)
        along = by_z * gz - gain * (uz * gz - shared)
        slope = -rate.square() * along
        level = rate * (gain * gz * u1 - by_z * g1) - slope * mean
        by_x = torch.addcmul(level, rows_of(maps), slope).addcmul_(rows_of(u), -rate * gain * gz)
        _put(by_x, places, g * (rate * by_z))
        return (
            maps_of(by_gradient.where(passed, 0), pooled),
            maps_of(by_x, maps.shape),
            count * rate * shared,
            *[None] * 5,
        )


def _rising(maps: Tensor, gain: Tensor) -> Tensor:
    """Return maps whose largest values are those that have the largest product with the gain."""
    falling = gain < 0
    if not falling.any():
        return maps
    return maps * torch.where(falling, -1, 1).to(maps.dtype).view(-1, 1, 1)


def _put(rows: Tensor, places: Tensor, values: Tensor) -> None:
    """Add values to places of contiguous rows, each another one."""
    rows.view(-1).scatter_add_(0, places, values.reshape(-1))

"""Max pooling whose second derivative keeps the memory layout.

torch's own gathers the derivative of its backward pass into contiguous maps; whatever follows then
mixes two layouts, which costs a second-order meta-gradient on a CPU more than the pooling itself.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

aten = torch.ops.aten
WINDOW = ([2, 2], [2, 2], [0, 0], [1, 1], False)
"""Kernel, stride, padding, dilation, and no partial windows at the end."""


def halve_by_maxima(images: Tensor) -> Tensor:
    """Return the 2 x 2 maxima of images (N, C, H, W); a side of odd length loses its last line."""
    pooled: Tensor = _Maxima.apply(images)
    return pooled


class _Maxima(torch.autograd.Function):
    """Picks the largest of each window."""

    @staticmethod
    def forward(ctx: Any, images: Tensor) -> Tensor:
        pooled, places = aten.max_pool2d_with_indices(images, *WINDOW)
        ctx.save_for_backward(images, places)
        return pooled

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        images, places = ctx.saved_tensors
        spread: Tensor = _Spread.apply(gradient, images.detach(), places)
        return spread


class _Spread(torch.autograd.Function):
    """Puts values back where the maxima were picked; linear, so its derivative picks again."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, images: Tensor, places: Tensor) -> Tensor:
        ctx.save_for_backward(images, places)
        return aten.max_pool2d_with_indices_backward(values, images, *WINDOW, places)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        images, places = ctx.saved_tensors
        picked: Tensor = _Pick.apply(gradient, images, places)
        return picked, None, None


class _Pick(torch.autograd.Function):
    """Picks values (N, C, H, W) from the places (N, C, h, w) of the maxima."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, images: Tensor, places: Tensor) -> Tensor:
        ctx.save_for_backward(images, places)
        if places.is_contiguous():
            return values.flatten(2).gather(2, places.flatten(2)).view_as(places)
        # Channels last: the same along rows of channels, which are contiguous.
        rows = values.permute(0, 2, 3, 1).flatten(1, 2)
        at = places.permute(0, 2, 3, 1)
        picked = rows.gather(1, at.flatten(1, 2)).unflatten(1, at.shape[1:3])
        return picked.permute(0, 3, 1, 2)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        images, places = ctx.saved_tensors
        spread: Tensor = _Spread.apply(gradient, images, places)
        return spread, None, None

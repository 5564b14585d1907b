"""Max pooling whose second derivative keeps the memory layout.

torch's own gathers the derivative of its backward pass into contiguous maps; whatever follows then
mixes two layouts, which costs a second-order meta-gradient on a CPU more than the pooling itself.
"""

from __future__ import annotations

from collections.abc import Sequence
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
        picked = pick(rows_of(values), places_in_rows(places, values))
        return maps_of(picked, places.shape)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        images, places = ctx.saved_tensors
        spread: Tensor = _Spread.apply(gradient, images, places)
        return spread, None, None


def rows_of(maps: Tensor) -> Tensor:
    """Return maps (N, K, H, W) as rows of channels, (N * H * W, K): a view where those lie last."""
    return maps.permute(0, 2, 3, 1).reshape(-1, maps.shape[1])


def maps_of(rows: Tensor, shape: Sequence[int]) -> Tensor:
    """Return contiguous rows of channels as maps (N, K, H, W), a view with channels last."""
    images, channels, height, width = shape
    return rows.view(images, height, width, channels).permute(0, 3, 1, 2)


def places_in_rows(places: Tensor, maps: Tensor) -> Tensor:
    """Return where maxima are in the rows of all maps (N, K, H, W), flat, row by row.

    places: (N, K, h, w), those in each map by itself, as torch has them.
    """
    images, channels, height, width = maps.shape
    own = rows_of(places).view(images, -1, channels)
    across = torch.arange(channels, device=maps.device)
    along = torch.arange(images, device=maps.device).view(-1, 1, 1) * (height * width * channels)
    return torch.add(along + across, own, alpha=channels).flatten()


def pick(rows: Tensor, places: Tensor) -> Tensor:
    """Return the values in flat places of rows of channels, as fewer such rows."""
    return rows.reshape(-1).index_select(0, places).view(-1, rows.shape[1])

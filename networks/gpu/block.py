"""Batch normalization, rectifier and 2 x 2 maxima of maps, as one operation on a GPU.

torch reads and writes the maps of all images in every step of these three and of their first and
second derivatives; here each is read a few times, by ten kernels in all. Maps lie with episodes and
channels last, so that they are rows of channels; the formulas are those of `networks.batch_norm`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import triton
from torch import Tensor

from networks.gpu import block_kernels as kernels
from networks.gpu import block_second_kernels as second_kernels
from networks.last_derivative import last_derivative

ROWS, CHANNELS = 64, 32
PROGRAMS, MOST_PARTS = 2048, 512


class Shape(NamedTuple):
    """Sizes of N maps (N, K, H, W) and of what is pooled of them, (N, K, H / 2, W / 2)."""

    images: int
    channels: int
    height: int
    width: int

    @property
    def rows(self) -> int:
        """Places of all maps."""
        return self.images * self.height * self.width

    @property
    def cells(self) -> int:
        """Windows of all maps."""
        return self.images * (self.height // 2) * (self.width // 2)

    @property
    def sides(self) -> tuple[int, int, int, int]:
        """Height and width of a map and of what is pooled of it."""
        return self.height, self.width, self.height // 2, self.width // 2

    @property
    def blocks(self) -> int:
        """Programs that the channels are shared by."""
        return triton.cdiv(self.channels, CHANNELS)

    def parts(self, rows: int) -> tuple[int, int]:
        """Return into how many parts a sum over rows is cut, and the rows of each."""
        wanted = min(MOST_PARTS, triton.cdiv(PROGRAMS, self.blocks), triton.cdiv(rows, 2 * ROWS))
        each = triton.cdiv(triton.cdiv(rows, max(wanted, 1)), ROWS) * ROWS
        return triton.cdiv(rows, each), each


def normalized_maxima(
    maps: Tensor, scale: Tensor, shift: Tensor, epsilon: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Normalize maps (N, K, H, W) by their own statistics, rectify them and halve their sides.

    scale, shift: (K,). Returns the maxima, and mean and biased variance, each (K,). Twice
    differentiable; a third derivative raises RuntimeError.
    """
    found: tuple[Tensor, Tensor, Tensor] = _Normalized.apply(_last(maps), scale, shift, epsilon)
    return found


def maxima(maps: Tensor, factor: Tensor, offset: Tensor) -> Tensor:
    """Return the 2 x 2 maxima of maps * factor + offset where they are above 0, else 0.

    maps: (N, K, H, W); factor, offset: (K,). Differentiable as `normalized_maxima`.
    """
    found: Tensor = _Maxima.apply(_last(maps), factor, offset)
    return found


def _last(maps: Tensor) -> Tensor:
    return maps.contiguous(memory_format=torch.channels_last)


def _pooled(maps: Tensor, factor: Tensor, offset: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return maxima, the values of the maps that they are from, and their places (int8)."""
    shape = Shape(*maps.shape)
    form = (shape.images, shape.channels, *shape.sides[2:])
    found, picked = (
        torch.empty(form, dtype=maps.dtype, device=maps.device, memory_format=torch.channels_last)
        for _ in range(2)
    )
    places = torch.empty_like(found, dtype=torch.int8)
    kernels.pool[(triton.cdiv(shape.cells, ROWS), shape.blocks)](
        maps,
        factor,
        offset,
        found,
        picked,
        places,
        shape.cells,
        shape.channels,
        *shape.sides,
        ROWS=ROWS,
        CHANNELS=CHANNELS,
    )
    return found, picked, places


def _sums_of_pooled(
    shape: Shape, gradient: Tensor, picked: Tensor, places: Tensor, mean: Tensor
) -> tuple[Tensor, Tensor, int]:
    """Return sums of what passes of a gradient and of its products with the maps, in parts."""
    parts, each = shape.parts(shape.cells)
    sums, products = gradient.new_empty(2, parts, shape.channels)
    kernels.sum_pooled[(shape.blocks, parts)](
        gradient,
        picked,
        places,
        mean,
        sums,
        products,
        shape.cells,
        shape.channels,
        each,
        ROWS=ROWS,
        CHANNELS=CHANNELS,
    )
    return sums, products, parts


def _sums_of_second(
    shape: Shape, gradient: Tensor, places: Tensor, maps: Tensor, others: Tensor, mean: Tensor
) -> tuple[Tensor, Tensor, Tensor, int]:
    parts, each = shape.parts(shape.rows)
    sums, products, passed = gradient.new_empty(3, parts, shape.channels)
    second_kernels.sum_second[(shape.blocks, parts)](
        gradient,
        places,
        maps,
        others,
        mean,
        sums,
        products,
        passed,
        shape.rows,
        shape.channels,
        each,
        *shape.sides,
        ROWS=ROWS,
        CHANNELS=CHANNELS,
    )
    return sums, products, passed, parts


def _spread(
    gradient: Tensor, places: Tensor, maps: Tensor, coefficients: Tensor, others: Tensor | None
) -> Tensor:
    shape = Shape(*maps.shape)
    out = torch.empty_like(maps)
    kernels.spread[(triton.cdiv(shape.rows, ROWS), shape.blocks)](
        gradient,
        places,
        maps,
        maps if others is None else others,
        coefficients,
        out,
        shape.rows,
        shape.channels,
        *shape.sides,
        TWO=others is not None,
        ROWS=ROWS,
        CHANNELS=CHANNELS,
    )
    return out


def _pick(shape: Shape, others: Tensor, picked: Tensor, places: Tensor, picking: Tensor) -> Tensor:
    out = torch.empty_like(picked)
    second_kernels.pick[(triton.cdiv(shape.cells, ROWS), shape.blocks)](
        others,
        picked,
        places,
        picking,
        out,
        shape.cells,
        shape.channels,
        *shape.sides,
        ROWS=ROWS,
        CHANNELS=CHANNELS,
    )
    return out


def _given(value: Tensor | None, like: Tensor) -> Tensor:
    return torch.zeros_like(like) if value is None else value.contiguous()


class _Normalized(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, maps: Tensor, scale: Tensor, shift: Tensor, epsilon: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        scale, shift = scale.contiguous(), shift.contiguous()
        shape = Shape(*maps.shape)
        parts, each = shape.parts(shape.rows)
        sums, squares = maps.new_empty(2, parts, shape.channels)
        sizes = {"ROWS": ROWS, "CHANNELS": CHANNELS}
        kernels.sum_maps[(shape.blocks, parts)](
            maps, sums, squares, shape.rows, shape.channels, each, **sizes
        )
        mean, variance, factor, offset = (torch.empty_like(scale) for _ in range(4))
        kernels.finish_moments[(shape.blocks,)](
            maps,
            sums,
            squares,
            parts,
            shape.rows,
            shape.channels,
            scale,
            shift,
            epsilon,
            mean,
            variance,
            factor,
            offset,
            PARTS=triton.next_power_of_2(parts),
            CHANNELS=CHANNELS,
        )
        found, picked, places = _pooled(maps, factor, offset)
        ctx.save_for_backward(maps, scale, mean, variance, picked, places)
        ctx.epsilon = epsilon
        ctx.set_materialize_grads(False)
        return found, mean, variance

    @staticmethod
    def backward(
        ctx: Any, gradient: Tensor | None, by_mean: Tensor | None, by_variance: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor, None]:
        maps, scale, mean, variance, picked, places = ctx.saved_tensors
        found: tuple[Tensor, Tensor, Tensor] = _NormalizedBackward.apply(
            torch.zeros_like(picked) if gradient is None else gradient,
            _given(by_mean, mean),
            _given(by_variance, mean),
            maps,
            scale,
            (mean.detach(), variance.detach(), picked, places),
            ctx.epsilon,
        )
        return *found, None


class _NormalizedBackward(torch.autograd.Function):
    """(gradients by what comes out, maps, scale) -> gradients by maps, scale and shift."""

    @staticmethod
    def forward(
        ctx: Any,
        gradient: Tensor,
        by_mean: Tensor,
        by_variance: Tensor,
        maps: Tensor,
        scale: Tensor,
        kept: tuple[Tensor, ...],
        epsilon: float,
    ) -> tuple[Tensor, Tensor, Tensor]:
        mean, variance, picked, places = kept
        shape, gradient = Shape(*maps.shape), _last(gradient)
        sums, products, parts = _sums_of_pooled(shape, gradient, picked, places, mean)
        by_scale, by_shift = torch.empty_like(mean), torch.empty_like(mean)
        coefficients = maps.new_empty(3, shape.channels)
        kernels.finish_gradient[(shape.blocks,)](
            sums,
            products,
            parts,
            shape.rows,
            shape.channels,
            scale,
            mean,
            variance,
            epsilon,
            by_mean,
            by_variance,
            by_scale,
            by_shift,
            coefficients,
            PARTS=triton.next_power_of_2(parts),
            CHANNELS=CHANNELS,
        )
        ctx.save_for_backward(
            gradient, by_variance, maps, scale, *kept, by_scale.clone(), by_shift.clone()
        )
        ctx.epsilon = epsilon
        return _spread(gradient, places, maps, coefficients, None), by_scale, by_shift

    @staticmethod
    @last_derivative
    def backward(
        ctx: Any, by_maps: Tensor, for_scale: Tensor, for_shift: Tensor
    ) -> tuple[Tensor | None, ...]:
        gradient, by_variance, maps, scale, *rest = ctx.saved_tensors
        mean, variance, picked, places, product, total = rest
        shape, others = Shape(*maps.shape), _last(by_maps)
        sums, products, passed, parts = _sums_of_second(shape, gradient, places, maps, others, mean)
        by_scale, by_mean, again = (torch.empty_like(mean) for _ in range(3))
        coefficients, picking = maps.new_empty(4, shape.channels), maps.new_empty(3, shape.channels)
        second_kernels.finish_second[(shape.blocks,)](
            sums,
            products,
            passed,
            parts,
            shape.rows,
            shape.channels,
            scale,
            mean,
            variance,
            ctx.epsilon,
            by_variance,
            total,
            product,
            for_scale.contiguous(),
            for_shift.contiguous(),
            by_scale,
            by_mean,
            again,
            coefficients,
            picking,
            PARTS=triton.next_power_of_2(parts),
            CHANNELS=CHANNELS,
        )
        return (
            _pick(shape, others, picked, places, picking),
            by_mean,
            again,
            _spread(gradient, places, maps, coefficients, others),
            by_scale,
            None,
            None,
        )


class _Maxima(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, maps: Tensor, factor: Tensor, offset: Tensor) -> Tensor:
        factor = factor.contiguous()
        found, picked, places = _pooled(maps, factor, offset.contiguous())
        ctx.save_for_backward(maps, factor, picked, places)
        return found

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        maps, factor, picked, places = ctx.saved_tensors
        found: tuple[Tensor, Tensor, Tensor] = _MaximaBackward.apply(
            gradient, maps, factor, picked, places
        )
        return found


class _MaximaBackward(torch.autograd.Function):
    """(gradient, maps, factor) -> gradients by maps, factor and offset."""

    @staticmethod
    def forward(
        ctx: Any, gradient: Tensor, maps: Tensor, factor: Tensor, picked: Tensor, places: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        shape, gradient, none = Shape(*maps.shape), _last(gradient), torch.zeros_like(factor)
        ctx.save_for_backward(gradient, maps, factor, picked, places)
        sums, products, _ = _sums_of_pooled(shape, gradient, picked, places, none)
        coefficients = torch.stack([factor, none, none])
        by_maps = _spread(gradient, places, maps, coefficients, None)
        return by_maps, products.sum(0), sums.sum(0)

    @staticmethod
    @last_derivative
    def backward(
        ctx: Any, by_maps: Tensor, for_factor: Tensor, for_offset: Tensor
    ) -> tuple[Tensor | None, ...]:
        gradient, maps, factor, picked, places = ctx.saved_tensors
        shape, others, none = Shape(*maps.shape), _last(by_maps), torch.zeros_like(factor)
        _, _, passed, _ = _sums_of_second(shape, gradient, places, maps, others, none)
        coefficients = torch.stack([for_factor, none, none])
        return (
            _pick(shape, others, picked, places, torch.stack([factor, for_factor, for_offset])),
            _spread(gradient, places, maps, coefficients, None),
            passed.sum(0),
            None,
            None,
        )

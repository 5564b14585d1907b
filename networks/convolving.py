"""Convolution whose derivatives of every order are convolutions again, each one call of a kernel.

torch differentiates the backward pass of a convolution by one convolution for each group, with a
kernel as large as the maps: episodes are groups here, so that on a GPU such a second derivative
takes longer than all else. A convolution is linear in its images and in its weight, and
so are its two gradients; each derivative of one of the three is another of them. On a GPU all
three have kernels of our own (`networks.gpu.convolution`).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from networks import gpu

aten = torch.ops.aten


class Form(NamedTuple):
    """Numbers of a convolution, as torch takes them."""

    stride: list[int]
    padding: list[int]
    dilation: list[int]
    groups: int


def convolve(images: Tensor, weight: Tensor, bias: Tensor | None, form: Form) -> Tensor:
    """Return the convolution of images (N, C, H, W), as `torch.nn.functional.conv2d`."""
    if images.device.type == "cpu" and _leaves_pixels_out(weight, form):
        # Left out beforehand: with few channels, channels last, the kernel of oneDNN for the
        # gradient by such a weight writes past its memory (torch 2.14), and the process dies.
        last = images.is_contiguous(memory_format=torch.channels_last)
        kind = torch.channels_last if last else torch.contiguous_format
        down, right = form.stride
        images = images[:, :, ::down, ::right].contiguous(memory_format=kind)
        form = form._replace(stride=[1, 1])
    maps: Tensor = _Convolve.apply(images, weight, bias, form)
    return maps


def _leaves_pixels_out(weight: Tensor, form: Form) -> bool:
    return max(weight.shape[2:]) == 1 and max(form.padding) == 0 and max(form.stride) > 1


class _Convolve(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, images: Tensor, weight: Tensor, bias: Tensor | None, form: Form
    ) -> Tensor:
        ctx.save_for_backward(images, weight)
        ctx.form = form
        stride, padding, dilation, groups = form
        if _on_gpu(images, weight, form):
            from networks.gpu import convolution

            found = convolution.forward(images, weight, padding, groups)
            return found if bias is None else found + bias.view(-1, 1, 1)
        maps: Tensor = aten.convolution(
            images, weight, bias, stride, padding, dilation, False, [0, 0], groups
        )
        return maps

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        images, weight = ctx.saved_tensors
        wanted = ctx.needs_input_grad
        return (
            _ByImages.apply(gradient, weight, images.detach(), ctx.form) if wanted[0] else None,
            _ByWeight.apply(gradient, images, weight.detach(), ctx.form) if wanted[1] else None,
            gradient.sum((0, 2, 3)) if wanted[2] else None,
            None,
        )


class _ByImages(torch.autograd.Function):
    """(gradient, weight) -> gradient by images; `like` are images of the same form."""

    @staticmethod
    def forward(ctx: Any, gradient: Tensor, weight: Tensor, like: Tensor, form: Form) -> Tensor:
        ctx.save_for_backward(gradient, weight)
        ctx.form = form
        return _gradients(gradient, like, weight, form, by_weight=False)

    @staticmethod
    def backward(ctx: Any, images: Tensor) -> tuple[Tensor | None, ...]:
        gradient, weight = ctx.saved_tensors
        wanted = ctx.needs_input_grad
        return (
            _Convolve.apply(images, weight, None, ctx.form) if wanted[0] else None,
            _ByWeight.apply(gradient, images, weight.detach(), ctx.form) if wanted[1] else None,
            None,
            None,
        )


class _ByWeight(torch.autograd.Function):
    """(gradient, images) -> gradient by the weight; `like` is a weight of the same form."""

    @staticmethod
    def forward(ctx: Any, gradient: Tensor, images: Tensor, like: Tensor, form: Form) -> Tensor:
        ctx.save_for_backward(gradient, images)
        ctx.form = form
        return _gradients(gradient, images, like, form, by_weight=True)

    @staticmethod
    def backward(ctx: Any, weight: Tensor) -> tuple[Tensor | None, ...]:
        gradient, images = ctx.saved_tensors
        wanted = ctx.needs_input_grad
        return (
            _Convolve.apply(images, weight, None, ctx.form) if wanted[0] else None,
            _ByImages.apply(gradient, weight, images.detach(), ctx.form) if wanted[1] else None,
            None,
            None,
        )


def _gradients(
    gradient: Tensor, images: Tensor, weight: Tensor, form: Form, *, by_weight: bool
) -> Tensor:
    stride, padding, dilation, groups = form
    if _on_gpu(images, weight, form):
        from networks.gpu import convolution

        if by_weight:
            shape = tuple(weight.shape)
            return convolution.by_weight(gradient, images, shape, padding, groups)
        return convolution.by_images(gradient, weight, padding, groups)
    wanted = [not by_weight, by_weight, False]
    numbers = (stride, padding, dilation, False, [0, 0], groups, wanted)
    found: Tensor = aten.convolution_backward(gradient, images, weight, None, *numbers)[by_weight]
    return found


def _on_gpu(images: Tensor, weight: Tensor, form: Form) -> bool:
    """Whether our own kernels are made for this: not for those of one channel a group, say."""
    if not gpu.usable(images, weight):
        return False
    outputs, _, *sides = weight.shape
    maps = len(images) * outputs
    for size, side, pad in zip(images.shape[2:], sides, form.padding, strict=True):
        maps *= size + 2 * pad - side + 1
    return (
        maps <= gpu.LARGEST
        and form.stride == [1, 1]
        and form.dilation == [1, 1]
        and max(sides) > 1
        and all(pad < side for pad, side in zip(form.padding, sides, strict=True))
        and outputs // form.groups >= gpu.LEAST_OUTPUTS
        and form.groups <= gpu.MOST_GROUPS
    )

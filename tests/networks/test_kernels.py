"""Pooling, batch normalization and memory layouts: the same values, derivatives and strides."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from networks import build
from networks.batch_norm import batch_normalize
from networks.layers import channels_last, convolution, examples_first
from networks.pooling import halve_by_maxima

LAYOUTS = (torch.contiguous_format, torch.channels_last)
layouts = pytest.mark.parametrize("layout", LAYOUTS, ids=["contiguous", "channels last"])


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def images(layout: torch.memory_format, side: int = 6) -> Tensor:
    return drawn(3, 4, side, 5).contiguous(memory_format=layout).requires_grad_()


def normalization_inputs(layout: torch.memory_format) -> tuple[Tensor, Tensor, Tensor]:
    scale, shift = (drawn(4, seed=seed).requires_grad_() for seed in (1, 2))
    return images(layout), scale, shift


def ours(x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    return batch_normalize(x, scale, shift, 1e-5)


def of_torch(x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    return F.batch_norm(x, None, None, scale, shift, training=True, eps=1e-5)


def derivatives(
    function: Callable[..., Tensor], inputs: tuple[Tensor, ...]
) -> list[tuple[Tensor, ...]]:
    """Return outputs, gradients, and gradients of a function of all gradients."""
    outputs = function(*inputs)
    first = torch.autograd.grad(outputs.pow(3).sum(), inputs, create_graph=True)
    second = torch.autograd.grad(sum(each.sin().sum() for each in first), inputs)
    return [(outputs,), first, second]


@layouts
def test_batch_normalization_is_twice_differentiable(layout: torch.memory_format) -> None:
    inputs = normalization_inputs(layout)
    assert torch.autograd.gradcheck(ours, inputs)
    assert torch.autograd.gradgradcheck(ours, inputs)


@layouts
def test_batch_normalization_is_torchs(layout: torch.memory_format) -> None:
    inputs = normalization_inputs(layout)
    pairs = zip(derivatives(ours, inputs), derivatives(of_torch, inputs), strict=True)
    for found, expected in pairs:
        for each, other in zip(found, expected, strict=True):
            torch.testing.assert_close(each, other, rtol=1e-10, atol=1e-12)


def test_a_third_derivative_of_batch_normalization_is_refused() -> None:
    inputs = normalization_inputs(torch.contiguous_format)
    (first,) = torch.autograd.grad(ours(*inputs).pow(3).sum(), inputs[:1], create_graph=True)
    (second,) = torch.autograd.grad(first.pow(3).sum(), inputs[:1], create_graph=True)
    with pytest.raises(RuntimeError, match="third derivative"):
        second.pow(3).sum().backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="third derivative"):
        torch.autograd.grad(second.pow(3).sum(), inputs[:1])


@pytest.mark.parametrize("side", [6, 7])
@layouts
def test_pooling_is_torchs_to_the_second_derivative(layout: torch.memory_format, side: int) -> None:
    def by_torch(x: Tensor) -> Tensor:
        return F.max_pool2d(x, 2)

    inputs = (images(layout, side),)
    pairs = zip(derivatives(halve_by_maxima, inputs), derivatives(by_torch, inputs), strict=True)
    for found, expected in pairs:
        torch.testing.assert_close(found[0], expected[0], rtol=0, atol=0)
    assert torch.autograd.gradgradcheck(halve_by_maxima, inputs)


@pytest.mark.parametrize("function", ["pooling", "normalization"])
def test_derivatives_keep_channels_last(function: str) -> None:
    if function == "pooling":
        found = derivatives(halve_by_maxima, (images(torch.channels_last),))
    else:
        found = derivatives(ours, normalization_inputs(torch.channels_last))
    for each in found:
        assert each[0].is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("normalization", ["batch", "none", "layer", "group"])
@pytest.mark.parametrize(("episodes", "channels"), [(1, 1), (1, 3), (2, 1), (2, 3)])
def test_maps_begin_in_the_layout_of_their_normalization(
    episodes: int, channels: int, normalization: str
) -> None:
    inputs = drawn(episodes, 5, channels, 4, 6)
    maps = examples_first(inputs, normalization)
    torch.testing.assert_close(maps, inputs.transpose(0, 1), rtol=0, atol=0)
    assert channels_last(maps) == (normalization in ("batch", "none"))


@pytest.mark.parametrize("own", [False, True], ids=["shared", "own"])
@pytest.mark.parametrize(("episodes", "channels"), [(1, 1), (1, 3), (2, 1), (2, 3)])
def test_a_convolution_keeps_the_layout_and_its_values(
    episodes: int, channels: int, own: bool
) -> None:
    inputs = drawn(episodes, 5, channels, 4, 6)
    weight = drawn(*((episodes,) if own else ()), 7, channels, 3, 3, seed=1)
    bias = drawn(7, seed=2)
    last = convolution(weight, bias, examples_first(inputs, "batch"))
    first = convolution(weight, bias, examples_first(inputs, "layer"))
    assert channels_last(last)
    assert not channels_last(first)
    torch.testing.assert_close(last, first, rtol=1e-12, atol=1e-12)


CROWDED = """
import torch
from networks.layers import convolution, examples_first
torch.set_num_threads(1)
images = torch.randn(1, 25, 1, 28, 28, generator=torch.Generator().manual_seed(0))
weight = torch.ones(1, 32, 1, 1, 1, requires_grad=True)
for _ in range(100):
    maps = convolution(weight, None, examples_first(images, "batch"), 2)
    [found] = torch.autograd.grad(maps.square().sum(), weight)
    memory = [torch.empty(25 * side) for side in range(1, 200)]
expected = 2 * images[..., ::2, ::2].square().sum()
torch.testing.assert_close(found, expected.expand_as(found))
"""


def test_a_gradient_by_a_weight_of_one_pixel_keeps_to_its_memory() -> None:
    """In a process of its own: torch's kernel writes past it, and what dies is the process."""
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", CROWDED], cwd=root, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.parametrize("shape", [(1, 12, 12), (3, 12, 12)])
def test_a_network_stays_with_channels_last(
    shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Mixed layouts would be right, and slow."""
    seen: list[bool] = []

    def noting(weight: Tensor, bias: Tensor | None, maps: Tensor, stride: int) -> Tensor:
        found = convolution(weight, bias, maps, stride)
        seen.append(channels_last(maps) and channels_last(found))
        return found

    monkeypatch.setattr(sys.modules["networks.conv4"], "convolution", noting)
    network = build("conv4", shape, 5, {"filters": 4, "depth": 2})
    params = network.init(torch.Generator().manual_seed(0))
    for episodes in (1, 2):
        network(params, torch.rand(episodes, 3, *shape))
        own = {k: v.expand(episodes, *v.shape) for k, v in params.items()}
        network(own, torch.rand(episodes, 3, *shape))
    assert seen == [True] * 8

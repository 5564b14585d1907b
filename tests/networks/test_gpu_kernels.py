"""Our kernels for GPUs against torch in float64: on a GPU, else as Triton interprets them.

tests/conftest.py says when it is to interpret.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

pytest.importorskip("triton")
from networks import build, gpu
from networks.convolving import Form, _on_gpu
from networks.gpu import block, convolution, tiles
from networks.layers import examples_first, normalized_maxima
from networks.network import Statistics

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
EPSILON = 1e-5
Function = Callable[..., Tensor | tuple[Tensor, ...]]


@pytest.fixture(autouse=True)
def exact_products(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    if DEVICE == "cpu":
        # The interpreter multiplies as numpy does, and does not know of numbers in three parts.
        monkeypatch.setattr(tiles, "EXACT", "ieee")


def drawn(*shape: int, seed: int = 0) -> Tensor:
    rng = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=rng).to(DEVICE)


def near(found: Tensor, expected: Tensor) -> None:
    assert found.shape == expected.shape
    distance = float((found.double() - expected).norm())
    assert distance <= 3e-6 * float(expected.norm()), distance / float(expected.norm())


FORMS = [
    # images, episodes, channels, outputs, height, width, kernel, padding
    (3, 2, 1, 8, 7, 6, 3, 1),
    (2, 3, 3, 32, 6, 6, 3, 1),
    (2, 2, 16, 24, 5, 4, 3, 1),
    (2, 1, 32, 8, 6, 7, 3, 0),
    (2, 2, 64, 72, 4, 4, 3, 1),
    (2, 2, 48, 16, 5, 6, 3, 1),
    (1, 2, 5, 9, 8, 8, 5, 2),
    (40, 1, 2, 8, 9, 9, 2, 0),
]


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_convolutions_and_their_gradients(
    form: tuple[int, ...],
) -> None:
    count, groups, channels, outputs, height, width, side, pad = form
    images = drawn(count, groups * channels, height, width)
    weight = drawn(groups * outputs, channels, side, side, seed=1)
    padding = [pad, pad]
    expected = F.conv2d(images.double(), weight.double(), None, 1, pad, 1, groups)
    found = convolution.forward(images, weight, padding, groups)
    near(found, expected)
    assert found.is_contiguous(memory_format=torch.channels_last)
    gradient = drawn(*expected.shape, seed=2)
    numbers = ([1, 1], padding, [1, 1], False, [0, 0], groups, [True, True, False])
    by_images, by_weight, _ = torch.ops.aten.convolution_backward(
        gradient.double(), images.double(), weight.double(), None, *numbers
    )
    near(convolution.by_images(gradient, weight, padding, groups), by_images)
    shape = tuple(weight.shape)
    near(convolution.by_weight(gradient, images, shape, padding, groups), by_weight)
    # Tiles of rounded products, with exact ones.
    maps = tiles.of_maps(channels, side * side, False)._replace(products="ieee")
    near(convolution.forward(images, weight, padding, groups, maps), expected)
    cut = tiles.of_weights(channels, side * side, side, False)._replace(products="ieee")
    near(convolution.by_weight(gradient, images, shape, padding, groups, cut), by_weight)


def normalized(maps: Tensor, scale: Tensor, shift: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    mean, variance = maps.mean((0, 2, 3)), maps.var((0, 2, 3), unbiased=False)
    factor = scale * torch.rsqrt(variance + EPSILON)
    return given(maps, factor, shift - mean * factor), mean, variance


def given(maps: Tensor, factor: Tensor, offset: Tensor) -> Tensor:
    return F.max_pool2d(torch.relu(maps * factor[:, None, None] + offset[:, None, None]), 2)


def to_the_second(function: Function, inputs: list[Tensor]) -> list[Tensor]:
    """Return what comes out of a function, and its first and second derivatives."""
    inputs = [value.detach().requires_grad_() for value in inputs]
    results = function(*inputs)
    results = results if isinstance(results, tuple) else (results,)
    weighed = [
        ((value + value.square()) * drawn(*value.shape, seed=7).to(value)).sum()
        for value in results
    ]
    first = torch.autograd.grad(sum(weighed), inputs, create_graph=True)
    again = [(value * drawn(*value.shape, seed=8).to(value)).sum() for value in first]
    second = torch.autograd.grad(sum(again), inputs)
    return [value.detach() for value in (*results, *first, *second)]


@pytest.mark.parametrize("shape", [(3, 5, 6, 4), (4, 40, 7, 5), (9, 33, 3, 2)], ids=str)
@pytest.mark.parametrize("own_statistics", [True, False])
def test_blocks_are_torchs_to_the_second_derivative(
    shape: tuple[int, ...], own_statistics: bool
) -> None:
    inputs = [3 + 1.5 * drawn(*shape), drawn(shape[1], seed=1), drawn(shape[1], seed=2)]

    def ours(*values: Tensor) -> tuple[Tensor, ...] | Tensor:
        if own_statistics:
            return block.normalized_maxima(*values, EPSILON)
        return block.maxima(*values)

    expected = to_the_second(
        normalized if own_statistics else given, [value.double() for value in inputs]
    )
    for found, wanted in zip(to_the_second(ours, inputs), expected, strict=True):
        near(found, wanted)


def test_scales_may_be_views() -> None:
    maps, one = drawn(2, 6, 4, 4), drawn(1, seed=1)
    scale, shift = one.expand(6), drawn(6, 2, seed=2)[:, 0]
    found = block.normalized_maxima(maps, scale, shift, EPSILON)[0]
    near(found, normalized(maps.double(), scale.double(), shift.double())[0])
    near(block.maxima(maps, scale, shift), given(*(v.double() for v in (maps, scale, shift))))


@pytest.fixture
def through_kernels(monkeypatch: pytest.MonkeyPatch) -> Callable[[bool], None]:
    """Call with True to send every network's maps through the kernels, with False for torch's."""

    def switch(on: bool) -> None:
        monkeypatch.setattr(gpu, "usable", lambda *values: on)

    return switch


@pytest.mark.parametrize("case", ["own", "given", "both", "collected"])
def test_maxima_of_a_network_are_the_same_by_kernels(
    case: str, through_kernels: Callable[[bool], None]
) -> None:
    inputs = drawn(2, 3, 4, 6, 5)  # (T, N, C, H, W)
    params = {"block.scale": drawn(4, seed=1), "block.shift": drawn(2, 4, seed=2)}
    statistics = {"block": (drawn(2, 4, seed=3), drawn(2, 4, seed=4).square())}
    found = []
    for on in (True, False):
        through_kernels(on)
        collected: Statistics | None = {} if case in ("both", "collected") else None
        maps = examples_first(inputs, "batch")
        given = statistics if case in ("given", "both") else None
        halved = normalized_maxima(params, "block", maps, given, collected)
        found.append([halved, *(collected or {}).get("block", ())])
    for ours, torchs in zip(*found, strict=True):
        near(ours, torchs.double())


@pytest.mark.parametrize("own_weights", [True, False])
def test_a_network_is_the_same_by_kernels_to_the_second_derivative(
    own_weights: bool, through_kernels: Callable[[bool], None]
) -> None:
    network = build("conv4", (3, 7, 8), 4, {"filters": 8, "depth": 2})
    drawn_params = network.init(torch.Generator().manual_seed(0))
    params = {name: value.to(DEVICE) for name, value in drawn_params.items()}
    if own_weights:
        params = {n: v + 0.1 * drawn(2, *v.shape, seed=9) for n, v in params.items()}
    images = drawn(2, 5, 3, 7, 8)

    def outputs(*values: Tensor) -> Tensor:
        return network(dict(zip(params, values, strict=True)), images)

    through_kernels(True)
    found = to_the_second(outputs, list(params.values()))
    through_kernels(False)
    for ours, torchs in zip(found, to_the_second(outputs, list(params.values())), strict=True):
        distance = float((ours - torchs).norm())
        assert distance <= 1e-4 * float(torchs.norm())


def test_what_does_not_fit_is_left_to_torch(through_kernels: Callable[[bool], None]) -> None:
    through_kernels(True)

    def fits(images: tuple[int, ...], weight: tuple[int, ...], form: Form) -> bool:
        return _on_gpu(torch.empty(images, device="meta"), torch.empty(weight, device="meta"), form)

    usual = Form([1, 1], [1, 1], [1, 1], 2)
    assert fits((75, 2, 28, 28), (128, 1, 3, 3), usual)
    # More places of maps than 32 bits count, though there are few of images.
    assert not fits((5000, 150, 84, 84), (3200, 3, 3, 3), usual._replace(groups=50))
    assert not fits((75, 2, 28, 28), (128, 1, 3, 3), usual._replace(stride=[2, 2]))
    assert not fits((75, 2, 28, 28), (2, 1, 3, 3), usual)
    assert not fits((75, 2, 28, 28), (128, 1, 1, 1), usual._replace(padding=[0, 0]))


def test_what_is_no_number_is_passed_on() -> None:
    maps = drawn(1, 2, 2, 2)
    maps[0, 1, 1, 0] = torch.nan
    one, none = torch.ones(2, device=DEVICE), torch.zeros(2, device=DEVICE)
    assert block.maxima(maps, one, none).isnan().flatten().tolist() == [False, True]
    found, _, variance = block.normalized_maxima(maps, one, none, EPSILON)
    assert found.isnan().flatten().tolist() == [False, True]
    assert variance.isnan().tolist() == [False, True]


@pytest.mark.parametrize("given", [False, True], ids=["own statistics", "given ones"])
def test_a_third_derivative_is_refused(given: bool) -> None:
    maps = drawn(2, 3, 4, 4).requires_grad_()
    ones = torch.ones(3, device=DEVICE).requires_grad_()
    if given:
        value = block.maxima(maps, ones, ones)
    else:
        value = block.normalized_maxima(maps, ones, ones, EPSILON)[0]
    for _ in range(2):
        (slope,) = torch.autograd.grad(value.square().sum(), maps, create_graph=True)
        value = slope
    with pytest.raises(RuntimeError, match="third derivative"):
        torch.autograd.grad(value.square().sum(), maps)


def test_without_a_compiler_torchs_kernels_are_used(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def failing(*_: object) -> Tensor:
        raise RuntimeError("no C compiler")

    if DEVICE == "cpu":
        monkeypatch.setattr(convolution, "try_out", lambda device: None)
    gpu.kernels_run.cache_clear()
    assert gpu.kernels_run(torch.device(DEVICE))
    assert not caplog.records
    monkeypatch.setattr(block, "maxima", failing)
    gpu.kernels_run.cache_clear()
    assert not gpu.kernels_run(torch.device(DEVICE))
    assert "ours can't be compiled: no C compiler" in caplog.text
    gpu.kernels_run.cache_clear()


def test_kernels_are_for_single_precision_on_a_gpu() -> None:
    assert not gpu.usable(torch.ones(1))
    assert gpu.usable(torch.ones(1, device=DEVICE)) == (DEVICE == "cuda")
    assert not gpu.usable(torch.ones(1, device=DEVICE, dtype=torch.float64))

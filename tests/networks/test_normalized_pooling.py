"""Normalization, rectifier and maxima as one: torch's values and derivatives, in fewer passes."""

from __future__ import annotations

import sys
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from networks import build, layers, normalized_pooling
from networks.layers import EPSILON, examples_first
from networks.normalized_pooling import normalized_maxima
from tests.networks.test_kernels import derivatives, drawn

SIDES = (6, 7, 2)


def inputs(side: int, scale: float = 1.0) -> tuple[Tensor, Tensor, Tensor]:
    """Return maps (3, 4, side, 5) of unequal means, with channels last, their scale and shift."""
    maps = drawn(3, 4, side, 5) * scale + torch.tensor([0.0, 5, -3, 0.5]).view(-1, 1, 1)
    last = maps.contiguous(memory_format=torch.channels_last)
    return (
        last.requires_grad_(),
        (drawn(4, seed=1) - 0.3).requires_grad_(),
        drawn(4, seed=2).requires_grad_(),
    )


def ours(maps: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    return normalized_maxima(maps, scale, shift, EPSILON)


def by_torch(maps: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    normalized = F.batch_norm(maps, None, None, scale, shift, training=True, eps=EPSILON)
    return F.max_pool2d(F.relu(normalized), 2)


def assert_same(found: list[tuple[Tensor, ...]], expected: list[tuple[Tensor, ...]]) -> None:
    for ours, theirs in zip(found, expected, strict=True):
        for mine, other in zip(ours, theirs, strict=True):
            torch.testing.assert_close(mine, other, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("side", SIDES)
def test_it_is_torchs_to_the_second_derivative(side: int) -> None:
    values = inputs(side)
    # Among the scales are some of either sign: below 0 the least of a window is the largest.
    assert values[1].min() < 0 < values[1].max()
    assert 0 < (ours(*values) == 0).float().mean() < 1
    assert_same(derivatives(ours, values), derivatives(by_torch, values))
    assert torch.autograd.gradcheck(ours, values)
    assert torch.autograd.gradgradcheck(ours, values)


def test_of_equal_values_the_first_gets_the_gradient() -> None:
    values = inputs(6)
    even = values[0].detach().round().requires_grad_()
    assert (even[..., ::2, :4:2] == even[..., ::2, 1:4:2]).any()
    found = derivatives(ours, (even, *values[1:]))
    assert_same(found, derivatives(by_torch, (even, *values[1:])))


def test_a_channel_without_scale_gives_its_shift() -> None:
    maps, _, shift = inputs(6)
    values = (maps, torch.zeros_like(shift).requires_grad_(), shift)
    assert torch.equal(ours(*values), shift.clamp(min=0).view(-1, 1, 1).expand(3, 4, 3, 2))
    by_maps, by_scale, by_shift = torch.autograd.grad(ours(*values).sum(), values)
    assert not by_maps.any()
    assert torch.equal(by_shift, 18.0 * (shift > 0))
    assert by_scale.isfinite().all()


def test_what_is_no_number_is_passed_on() -> None:
    maps, scale, shift = inputs(6)
    broken = maps.detach().clone()
    broken[1, 2, 3, 3] = torch.nan
    found = ours(broken, scale, shift)
    assert found[:, 2].isnan().all()
    assert found[:, [0, 1, 3]].isfinite().all()


def test_where_nothing_passes_no_gradient_does() -> None:
    maps, scale, shift = inputs(6)
    found = ours(maps, scale, shift)
    blocked = found == 0
    gradient = torch.where(blocked, torch.inf, 1.0)
    (by_maps,) = torch.autograd.grad(found, maps, gradient)
    assert by_maps.isfinite().all()


def test_a_third_derivative_is_refused() -> None:
    values = inputs(6)
    first = torch.autograd.grad(ours(*values).pow(3).sum(), values[0], create_graph=True)[0]
    second = torch.autograd.grad(first.pow(3).sum(), values[0], create_graph=True)[0]
    with pytest.raises(RuntimeError, match="third derivative"):
        torch.autograd.grad(second.sum(), values[0])


def test_single_precision_is_near_double() -> None:
    exact = inputs(6, scale=0.1)
    rounded = tuple(each.detach().float().requires_grad_() for each in exact)
    pairs = zip(derivatives(ours, rounded), derivatives(ours, exact), strict=True)
    for found, expected in pairs:
        for mine, other in zip(found, expected, strict=True):
            assert (mine - other).norm() <= 1e-4 * other.norm()


@pytest.mark.parametrize("own", [True, False], ids=["own weights", "shared weights"])
def test_conv4_uses_it_and_gives_what_it_gives_without(
    own: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = build("conv4", (1, 10, 13), 3, {"filters": 5, "depth": 2})
    rng = torch.Generator().manual_seed(0)
    shared = {name: value.double() for name, value in network.init(rng).items()}
    params = {
        name: (value + drawn(2, *value.shape) if own else value).requires_grad_()
        for name, value in shared.items()
    }
    images = drawn(2, 4, 1, 10, 13)
    calls: list[object] = []

    def outputs(*weights: Tensor) -> Tensor:
        return network(dict(zip(params, weights, strict=True)), images)[0]

    def counted(*arguments: Any) -> Tensor:
        calls.append(arguments)
        return normalized_maxima(*arguments)

    monkeypatch.setattr(normalized_pooling, "normalized_maxima", counted)
    found = derivatives(outputs, tuple(params.values()))
    assert len(calls) == 2
    monkeypatch.setattr(layers, "channels_last", lambda maps: False)
    monkeypatch.setattr(
        sys.modules["networks.conv4"],
        "examples_first",
        lambda maps, _: maps.transpose(0, 1).contiguous(),
    )
    assert_same(found, derivatives(outputs, tuple(params.values())))
    assert len(calls) == 2


def test_statistics_of_the_batch_are_collected_beside_it() -> None:
    maps = examples_first(drawn(2, 3, 4, 6, 6), "batch")
    params = {"block.scale": drawn(2, 4, seed=1), "block.shift": drawn(2, 4, seed=2)}
    collected: dict[str, tuple[Tensor, Tensor]] = {}
    found = layers.normalized_maxima(params, "block", maps, None, collected)
    again = layers.normalized_maxima(params, "block", maps, collected, None)
    torch.testing.assert_close(found, again)


@pytest.mark.parametrize("activation", ["relu", "leaky_relu"])
@pytest.mark.parametrize("settings", [{"normalization": "layer"}, {"residual": True}], ids=str)
def test_rectified_maxima_are_maxima_of_what_is_rectified(
    activation: str, settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    images = drawn(2, 5, 2, 8, 9)
    pooled: list[torch.Size] = []
    activate = layers.ACTIVATIONS[activation]

    def noting(maps: Tensor) -> Tensor:
        pooled.append(maps.shape[3:])
        return activate(maps)

    monkeypatch.setitem(layers.ACTIVATIONS, activation, noting)
    form = {"filters": 4, "depth": 2, "activation": activation}
    network = build("conv4", (2, 8, 9), 3, form | settings)
    params = network.init(torch.Generator().manual_seed(0))
    weights = tuple(value.double().requires_grad_() for value in params.values())

    def outputs(*values: Tensor) -> Tensor:
        return network(dict(zip(params, values, strict=True)), images)

    found = derivatives(outputs, weights)
    assert pooled == [(4, 4), (2, 2)]
    monkeypatch.setattr(sys.modules["networks.conv4"], "RECTIFIERS", ())
    expected = derivatives(outputs, weights)
    assert pooled[2:] == [(8, 9), (4, 4)]
    for ours, theirs in zip(found, expected, strict=True):
        assert all(torch.equal(mine, other) for mine, other in zip(ours, theirs, strict=True))

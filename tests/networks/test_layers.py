"""Layers with an episode axis against torch's modules, one episode at a time, in float64."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from networks.layers import (
    attention,
    average_pool,
    batch_statistics,
    convolution,
    global_average,
    layer_normalize,
    linear,
    max_pool,
    normalize,
)

T, N, C, SIDE = 3, 4, 12, 5


def random(*shape: int, seed: int = 0) -> Tensor:
    rng = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=rng, dtype=torch.float64)


def close(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("own_weight", [False, True])
@pytest.mark.parametrize("own_bias", [False, True])
def test_linear(own_weight: bool, own_bias: bool) -> None:
    inputs = random(T, N, 6)
    weight = random(T, 2, 6, seed=1) if own_weight else random(2, 6, seed=1)
    bias = random(T, 2, seed=2) if own_bias else random(2, seed=2)
    found = linear(weight, bias, inputs)
    for t in range(T):
        own = weight[t] if own_weight else weight, bias[t] if own_bias else bias
        close(found[t], F.linear(inputs[t], *own))


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("biased", [False, True])
def test_convolution(own: bool, biased: bool, stride: int) -> None:
    maps = random(N, T, 2, SIDE, SIDE)
    weight = random(T, C, 2, 3, 3, seed=1)
    bias = random(T, C, seed=2) if biased else None
    if not own:
        weight, bias = weight[0], None if bias is None else bias[0]
    found = convolution(weight, bias, maps, stride)
    for t in range(T):
        own_weight = weight[t] if own else weight
        own_bias = bias[t] if own and bias is not None else bias
        close(found[:, t], F.conv2d(maps[:, t], own_weight, own_bias, stride=stride, padding=1))


@pytest.mark.parametrize("own_weight", [False, True])
@pytest.mark.parametrize("own_bias", [False, True])
@pytest.mark.parametrize(
    ("kernel", "options"),
    [
        ((1, 1), {}),
        ((1, 1), {"stride": 2}),
        ((5, 3), {}),
        ((3, 3), {"groups": 4}),
        ((3, 2), {"stride": (2, 1), "padding": (0, 2), "dilation": (1, 2), "groups": 2}),
    ],
)
def test_convolutions_of_any_form(
    kernel: tuple[int, int], options: dict[str, Any], own_weight: bool, own_bias: bool
) -> None:
    maps = random(N, T, 4, 7, SIDE)
    inputs = 4 // options.get("groups", 1)
    weight, bias = random(T, 8, inputs, *kernel, seed=1), random(T, 8, seed=2)
    found = convolution(
        weight if own_weight else weight[0], bias if own_bias else bias[0], maps, **options
    )
    usual = {"padding": (kernel[0] // 2, kernel[1] // 2)}
    for t in range(T):
        own = weight[t if own_weight else 0], bias[t if own_bias else 0]
        close(found[:, t], F.conv2d(maps[:, t], *own, **(usual | options)))


def test_average_pools() -> None:
    maps = random(N, T, C, SIDE, SIDE)
    assert average_pool(maps).shape == (N, T, C, 2, 2)
    close(average_pool(maps)[:, 1], nn.AvgPool2d(2)(maps[:, 1]))
    close(global_average(maps)[:, 1], nn.AdaptiveAvgPool2d(1)(maps[:, 1]).flatten(1))


@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("middle", [(), (3,), (3, 2)])
def test_layer_normalize(middle: tuple[int, ...], own: bool) -> None:
    inputs = 2 * random(T, N, *middle, C) + 1
    scale, shift = random(T, C, seed=1), random(T, C, seed=2)
    found = layer_normalize(scale if own else scale[0], shift if own else shift[0], inputs, 1e-3)
    for t in range(T):
        affine = scale[t if own else 0], shift[t if own else 0]
        close(found[t], F.layer_norm(inputs[t], (C,), *affine, eps=1e-3))


def test_attention_is_that_of_torch() -> None:
    query, key, value = (random(T, N, 2, 6, 3, seed=seed) for seed in range(3))
    close(attention(query, key, value), F.scaled_dot_product_attention(query, key, value))


def test_max_pool_drops_an_odd_line() -> None:
    maps = random(N, T, C, SIDE, SIDE)
    found = max_pool(maps)
    assert found.shape == (N, T, C, 2, 2)
    close(found[:, 1], nn.MaxPool2d(2)(maps[:, 1]))


def reference_module(kind: str) -> nn.Module:
    modules: dict[str, nn.Module] = {
        "batch": nn.BatchNorm2d(C),
        "layer": nn.GroupNorm(1, C),
        "group": nn.GroupNorm(4, C),  # 12 channels cannot be cut into 8 groups
    }
    return modules[kind].double()


@pytest.mark.parametrize("kind", ["batch", "layer", "group"])
@pytest.mark.parametrize("own", [False, True])
def test_normalize(kind: str, own: bool) -> None:
    maps = 2 * random(N, T, C, SIDE, SIDE) + 1
    scale, shift = random(T, C, seed=1), random(T, C, seed=2)
    if not own:
        scale, shift = scale[0], shift[0]
    found = normalize(kind, {"x.scale": scale, "x.shift": shift}, "x", maps, None, None)
    for t in range(T):
        module = reference_module(kind)
        with torch.no_grad():
            module.weight.copy_(scale[t] if own else scale)
            module.bias.copy_(shift[t] if own else shift)
        close(found[:, t], module(maps[:, t]))


def test_layer_normalization_is_that_of_torch() -> None:
    maps = random(N, T, C, SIDE, SIDE)
    params = {"x.scale": torch.ones(C).double(), "x.shift": torch.zeros(C).double()}
    found = normalize("layer", params, "x", maps, None, None)
    close(found, F.layer_norm(maps, (C, SIDE, SIDE)))


def test_no_normalization_changes_nothing() -> None:
    maps = random(N, T, C, SIDE, SIDE)
    assert normalize("none", {}, "x", maps, None, None) is maps


@pytest.mark.parametrize("shared", [False, True])
def test_given_statistics_replace_those_of_the_batch(shared: bool) -> None:
    maps = random(N, T, C, SIDE, SIDE)
    mean, variance = random(T, C, seed=3), random(T, C, seed=4).square() + 0.1
    if shared:
        mean, variance = mean[0], variance[0]
    params = {"x.scale": random(C, seed=1), "x.shift": random(C, seed=2)}
    found = normalize("batch", params, "x", maps, {"x": (mean, variance)}, None)
    for t in range(T):
        expected = F.batch_norm(
            maps[:, t],
            mean if shared else mean[t],
            variance if shared else variance[t],
            params["x.scale"],
            params["x.shift"],
        )
        close(found[:, t], expected)


def test_collected_statistics_reproduce_the_batch_that_they_are_from() -> None:
    maps = 2 * random(N, T, C, SIDE, SIDE) + 1
    params = {"x.scale": random(T, C, seed=1), "x.shift": random(T, C, seed=2)}
    collected: dict[str, tuple[Tensor, Tensor]] = {}
    by_itself = normalize("batch", params, "x", maps, None, collected)
    close(normalize("batch", params, "x", maps, collected, None), by_itself)


def test_batch_statistics_are_mean_and_biased_variance_of_an_episode() -> None:
    maps = random(N, T, C, SIDE, SIDE)
    mean, variance = batch_statistics(maps)
    assert mean.shape == variance.shape == (T, C)
    for t in range(T):
        values = maps[:, t].transpose(0, 1).flatten(1)
        close(mean[t], values.sum(1) / values.shape[1])
        close(variance[t], (values - mean[t][:, None]).square().sum(1) / values.shape[1])

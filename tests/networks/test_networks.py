"""What every registered network must do, and the shapes of each family."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from networks import NETWORKS, Network, Params, build
from networks.layers import ACTIVATIONS, NORMALIZATIONS

T, N, OUTPUTS = 3, 4, 5
IMAGE = (2, 8, 8)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def conv4(
    downsample: str, normalization: str, shape: tuple[int, ...] = IMAGE, depth: int = 3
) -> Network:
    settings = {"filters": 6, "depth": depth, "downsample": downsample}
    return build("conv4", shape, OUTPUTS, settings | {"normalization": normalization})


CASES = {
    "mlp": (lambda: build("mlp", (7,), OUTPUTS, {"width": 6, "depth": 2}), (7,)),
    "mlp-of-images": (lambda: build("mlp", IMAGE, OUTPUTS, {"width": 6, "depth": 1}), IMAGE),
    "pool-batch": (lambda: conv4("pool", "batch"), IMAGE),
    "pool-layer": (lambda: conv4("pool", "layer"), IMAGE),
    "pool-group": (lambda: conv4("pool", "group"), IMAGE),
    "pool-none": (lambda: conv4("pool", "none"), IMAGE),
    "stride-batch": (lambda: conv4("stride", "batch"), IMAGE),
    "stride-none": (lambda: conv4("stride", "none"), IMAGE),
}


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> tuple[Network, Tensor]:
    """A network and inputs of T episodes in float64."""
    make, shape = CASES[request.param]
    return make(), torch.randn(T, N, *shape, generator=generator(9), dtype=torch.float64)


def own_parameters(network: Network) -> tuple[list[Params], Params]:
    """Return different parameters for each episode: one by one, and with a leading axis T."""
    one_by_one = []
    for t in range(T):
        rng = generator(t)
        drawn = network.init(rng).items()
        one_by_one.append(
            {k: v.double() + 0.1 * torch.randn(v.shape, generator=rng) for k, v in drawn}
        )
    return one_by_one, {k: torch.stack([own[k] for own in one_by_one]) for k in one_by_one[0]}


def close(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)


def test_outputs_are_one_row_per_example(case: tuple[Network, Tensor]) -> None:
    network, inputs = case
    params = {name: value.double() for name, value in network.init(generator()).items()}
    outputs = network(params, inputs)
    assert outputs.shape == (T, N, OUTPUTS)
    assert outputs.dtype == torch.float64
    features, _ = network.features(params, inputs)
    assert features.shape == (T, N, params[network.head_names[0]].shape[1])
    close(network.head(params, features), outputs)


def test_initial_parameters_are_single_precision_and_depend_on_the_seed(
    case: tuple[Network, Tensor],
) -> None:
    network, _ = case
    first, again, other = (network.init(generator(seed)) for seed in (1, 1, 2))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert {value.dtype for value in first.values()} == {torch.float32}
    assert not torch.equal(first["head.weight"], other["head.weight"])


def test_episodes_do_not_see_each_other(case: tuple[Network, Tensor]) -> None:
    network, inputs = case
    params = {name: value.double() for name, value in network.init(generator()).items()}
    together = network(params, inputs)
    for t in range(T):
        close(together[t : t + 1], network(params, inputs[t : t + 1]))


def test_parameters_of_an_episode_equal_a_call_with_them(case: tuple[Network, Tensor]) -> None:
    network, inputs = case
    one_by_one, stacked = own_parameters(network)
    together = network(stacked, inputs)
    for t, params in enumerate(one_by_one):
        close(together[t : t + 1], network(params, inputs[t : t + 1]))


def test_shared_parameters_equal_copies_for_every_episode(case: tuple[Network, Tensor]) -> None:
    network, inputs = case
    params = own_parameters(network)[0][0]
    copies = {name: value.expand(T, *value.shape) for name, value in params.items()}
    close(network(copies, inputs), network(params, inputs))


def test_heads_of_episodes_work_above_a_shared_body(case: tuple[Network, Tensor]) -> None:
    network, inputs = case
    one_by_one, stacked = own_parameters(network)
    heads = {name: stacked[name] for name in network.head_names}
    together = network(one_by_one[0] | heads, inputs)
    for t, params in enumerate(one_by_one):
        own_head = {name: params[name] for name in network.head_names}
        close(together[t : t + 1], network(one_by_one[0] | own_head, inputs[t : t + 1]))


def test_only_batch_normalization_lets_examples_see_each_other(
    case: tuple[Network, Tensor],
) -> None:
    network, inputs = case
    params = own_parameters(network)[0][0]
    alone = network(params, inputs[:, :2])
    moved = not torch.allclose(network(params, inputs)[:, :2], alone, rtol=1e-9)
    assert moved == network.batch_normalized


def test_collected_statistics_stand_in_for_their_batch(case: tuple[Network, Tensor]) -> None:
    network, inputs = case
    params = own_parameters(network)[1]
    features, statistics = network.features(params, inputs, collect=True)
    assert bool(statistics) == network.batch_normalized
    close(network.features(params, inputs[:, :1], statistics)[0], features[:, :1])
    assert network.features(params, inputs)[1] == {}


@pytest.mark.parametrize(
    ("side", "downsample", "depth", "left"),
    [
        (28, "pool", 4, 1),
        (28, "pool", 5, 1),
        (28, "stride", 4, 2),
        (28, "stride", 5, 1),
        (84, "pool", 4, 5),
        (84, "pool", 5, 2),
        (84, "stride", 4, 6),
        (84, "stride", 5, 3),
    ],
)
def test_conv4_halves_its_maps_until_one_is_left(
    side: int, downsample: str, depth: int, left: int
) -> None:
    network = conv4(downsample, "batch", (3, side, side), depth)
    params = network.init(generator())
    assert params["head.weight"].shape == (OUTPUTS, 6 * left * left)
    assert network(params, torch.zeros(1, 2, 3, side, side)).shape == (1, 2, OUTPUTS)


def test_a_convolution_has_a_bias_or_a_normalization() -> None:
    assert "block1.bias" not in conv4("pool", "batch").init(generator())
    assert "block1.scale" not in conv4("pool", "none").init(generator())


def test_initial_weights_lie_within_their_published_bounds() -> None:
    rng = generator()
    weights = build("mlp", (40,), 3, {"width": 200, "depth": 1}).init(rng)
    bound = 1 / math.sqrt(40)
    assert 0.99 * bound < weights["layer1.weight"].abs().max() <= bound
    glorot = math.sqrt(6 / (9 * (2 + 6)))
    kernel = conv4("pool", "batch").init(rng)["block1.weight"]
    assert 0.95 * glorot < kernel.abs().max() <= glorot


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_activations_are_settings_of_every_network(activation: str) -> None:
    shapes = {"mlp": (7,), "conv4": IMAGE}
    for name in NETWORKS:
        network = build(name, shapes[name], OUTPUTS, {"activation": activation})
        outputs = network(network.init(generator()), torch.randn(1, 2, *shapes[name]))
        assert outputs.isfinite().all()


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
def test_only_the_batch_needs_statistics(normalization: str) -> None:
    assert conv4("pool", normalization).batch_normalized == (normalization == "batch")


def test_unknown_names_and_settings_are_refused() -> None:
    with pytest.raises(KeyError, match="conv5"):
        build("conv5", IMAGE, OUTPUTS, {})
    with pytest.raises(TypeError, match="filter"):
        build("conv4", IMAGE, OUTPUTS, {"filter": 3})

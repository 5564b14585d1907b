"""What every registered network must do, and the shapes of each family."""

from __future__ import annotations

import math
from itertools import product

import pytest
import torch
from torch import Tensor

from networks import NETWORKS, Network, NetworkError, Params, build
from networks.initialization import fan_out_weight
from networks.layers import ACTIVATIONS, NORMALIZATIONS
from spaces.networks import NETWORK_SPACES
from spaces.parameter import values_of

T, N, OUTPUTS = 3, 4, 5
IMAGE = (2, 8, 8)
RESNET12 = {"filters": 3, "depth": 2}
VIT = {"patch": 3, "width": 12, "depth": 2}


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
    "average-batch": (lambda: conv4("average", "batch"), IMAGE),
    "conv4-residual": (
        lambda: build("conv4", IMAGE, OUTPUTS, {"filters": 6, "depth": 2, "residual": True}),
        IMAGE,
    ),
    "mlp-residual": (
        lambda: build(
            "mlp", (7,), OUTPUTS, {"width": 6, "normalization": "layer", "residual": True}
        ),
        (7,),
    ),
    "resnet12": (lambda: build("resnet12", IMAGE, OUTPUTS, RESNET12), IMAGE),
    "resnet12-flatten-group": (
        lambda: build(
            "resnet12", IMAGE, OUTPUTS, RESNET12 | {"pool": "flatten", "normalization": "group"}
        ),
        IMAGE,
    ),
    "vit": (lambda: build("vit", IMAGE, OUTPUTS, VIT), IMAGE),
    "vit-mean": (lambda: build("vit", IMAGE, OUTPUTS, VIT | {"readout": "mean"}), IMAGE),
    "torchvision": (
        lambda: build("torchvision", (3, 48, 48), OUTPUTS, {"model": "shufflenet_v2_x0_5"}),
        (3, 48, 48),
    ),
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
    weight = network.head_names[0]
    assert not torch.equal(first[weight], other[weight])


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
    wide = fan_out_weight(20, 500, rng)
    assert wide.std() == pytest.approx(math.sqrt(2 / (9 * 500)), rel=0.02)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_activations_are_settings_of_every_network(activation: str) -> None:
    small: dict[str, dict[str, int]] = {"mlp": {}, "conv4": {}, "resnet12": RESNET12, "vit": VIT}
    small["unet"] = {"filters": 2}
    # The transformer's inputs are symbols: see test_transformer.py.
    assert {*small, "torchvision", "transformer"} == set(NETWORKS)
    for name, settings in small.items():
        network = build(name, IMAGE, OUTPUTS, settings | {"activation": activation})
        outputs = network(network.init(generator()), torch.randn(1, 2, *IMAGE))
        assert outputs.isfinite().all()


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
def test_only_the_batch_needs_statistics(normalization: str) -> None:
    assert conv4("pool", normalization).batch_normalized == (normalization == "batch")


def test_shortcuts_and_normalization_add_parameters_only_where_asked() -> None:
    def names(family: str, **settings: int | str | bool) -> set[str]:
        return set(build(family, IMAGE, OUTPUTS, settings).shapes)

    def of(layers: tuple[str, ...], kinds: tuple[str, ...]) -> set[str]:
        return {f"{layer}.{kind}" for layer in layers for kind in kinds}

    head, blocks = of(("head",), ("weight", "bias")), ("block1", "block2")
    conv = head | of(blocks, ("weight", "scale", "shift"))
    assert names("conv4", depth=2) == conv
    assert names("conv4", depth=2, residual=True) == conv | {"block1.shortcut.weight"}
    strided = names("conv4", depth=2, residual=True, downsample="stride")
    assert strided == conv | of(blocks, ("shortcut.weight",))
    dense = head | of(("layer1", "layer2"), ("weight", "bias"))
    assert names("mlp", residual=True) == dense
    scaled = dense | of(("layer1", "layer2"), ("scale", "shift"))
    assert names("mlp", normalization="layer") == scaled
    block = ("block1.layer1", "block1.layer2", "block1.layer3")
    plain = head | of(block, ("weight", "scale", "shift"))
    assert names("resnet12", depth=1, residual=False) == plain
    shortcut = of(("block1.shortcut",), ("weight", "scale", "shift"))
    assert names("resnet12", depth=1) == plain | shortcut


@pytest.mark.parametrize(("pool", "side", "size"), [("average", 84, 24), ("flatten", 84, 24 * 25)])
def test_resnet12_doubles_its_filters_and_pools(pool: str, side: int, size: int) -> None:
    network = build("resnet12", (3, side, side), OUTPUTS, {"filters": 3, "pool": pool})
    assert network.shapes["head.weight"] == (OUTPUTS, size)
    assert network.shapes["block4.layer1.weight"] == (24, 12, 3, 3)


@pytest.mark.parametrize(("side", "tokens"), [(28, 16), (32, 25), (64, 100), (84, 144)])
def test_vit_pads_images_to_whole_patches(side: int, tokens: int) -> None:
    shape = (1, side, side)
    class_token = build("vit", shape, OUTPUTS, VIT | {"patch": 7}).shapes
    mean = build("vit", shape, OUTPUTS, VIT | {"patch": 7, "readout": "mean"}).shapes
    assert class_token["embedding.positions"] == (tokens + 1, 12)
    assert mean["embedding.positions"] == (tokens, 12)
    assert "embedding.token" not in mean


@pytest.mark.parametrize("side", [28, 32, 64, 84])
def test_every_vit_of_the_space_can_be_built(side: int) -> None:
    parameters = NETWORK_SPACES["vit"].parameters
    options = [values_of(parameters[name]) for name in ("patch", "width", "heads")]
    for patch, width, heads in product(*options):
        build("vit", (3, side, side), OUTPUTS, {"patch": patch, "width": width, "heads": heads})


@pytest.mark.parametrize(
    ("family", "settings", "message"),
    [
        ("vit", {"width": 64, "heads": 5}, "heads: 5: must divide width, 64"),
        ("vit", {"patch": 9}, "patch: 9: must be at most the side of the image, 8"),
        ("vit", {"readout": "max"}, "readout: 'max': must be one of class, mean"),
        ("mlp", {"normalization": "batch"}, "normalization: 'batch': must be one of none, layer"),
        ("resnet12", {"pool": "max"}, "pool: 'max': must be one of average, flatten"),
        ("conv4", {"downsample": "no"}, "downsample: 'no': must be one of pool, average, stride"),
    ],
)
def test_a_setting_that_does_not_fit_is_named(
    family: str, settings: dict[str, int | str], message: str
) -> None:
    with pytest.raises(NetworkError) as error:
        build(family, IMAGE, OUTPUTS, settings)
    assert str(error.value) == message


def test_unknown_names_and_settings_are_refused() -> None:
    with pytest.raises(KeyError, match="conv5"):
        build("conv5", IMAGE, OUTPUTS, {})
    with pytest.raises(TypeError, match="filter"):
        build("conv4", IMAGE, OUTPUTS, {"filter": 3})

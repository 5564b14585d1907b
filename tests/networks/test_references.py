"""Every family against a plain loop over episodes: outputs, gradients, gradients of gradients."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torchvision
from torch import Tensor, nn

from networks import Network, Params, build
from networks.graph_layers import LAYERS, Pass
from tests.networks import references
from tests.networks.references import Moments, Reference

OUTPUTS = 3
IMAGE = (2, 9, 8)
RESNET: dict[str, Any] = {
    "filters": 3,
    "depth": 2,
    "pool": "average",
    "normalization": "batch",
    "activation": "leaky_relu",
    "residual": True,
}
CONV: dict[str, Any] = {
    "filters": 4,
    "depth": 2,
    "downsample": "pool",
    "normalization": "batch",
    "activation": "silu",
}
VIT: dict[str, Any] = {
    "patch": 4,
    "width": 6,
    "depth": 2,
    "heads": 2,
    "activation": "gelu",
    "readout": "class",
}
MLP: dict[str, Any] = {"width": 5, "depth": 2, "activation": "tanh"}

SMALL: dict[str, tuple[str, dict[str, Any]]] = {
    "mlp": ("mlp", MLP),
    "mlp-layer": ("mlp", MLP | {"normalization": "layer"}),
    "mlp-sine": ("mlp", MLP | {"activation": "sine", "depth": 1}),
    "mlp-residual": ("mlp", MLP | {"normalization": "layer", "residual": True, "depth": 3}),
    "conv4": ("conv4", CONV),
    "conv4-average": ("conv4", CONV | {"downsample": "average", "normalization": "group"}),
    "conv4-residual": ("conv4", CONV | {"residual": True, "depth": 4}),
    "conv4-residual-stride": ("conv4", CONV | {"residual": True, "downsample": "stride"}),
    "conv4-residual-none": ("conv4", CONV | {"residual": True, "normalization": "none"}),
    "resnet12": ("resnet12", RESNET),
    "resnet12-flatten": ("resnet12", RESNET | {"pool": "flatten", "activation": "silu"}),
    "resnet12-plain": ("resnet12", RESNET | {"residual": False}),
    "resnet12-layer": ("resnet12", RESNET | {"normalization": "layer"}),
    "resnet12-none": ("resnet12", RESNET | {"normalization": "none", "activation": "tanh"}),
    "vit": ("vit", VIT),
    "vit-mean": ("vit", VIT | {"readout": "mean", "patch": 3, "heads": 3}),
}
"""9 x 8 pixels: neither patch divides both sides, and a pool drops a line."""

WITH_PARAMETERS = ("Conv2d", "Linear", "BatchNorm2d", "LayerNorm", "LayerNorm2d", "GroupNorm")
AXES = ("Permute",)
ARGUMENTS: dict[str, tuple[Any, ...]] = {
    "MaxPool2d": (2,),
    "AvgPool2d": (2,),
    "AdaptiveAvgPool2d": (3,),
    "AdaptiveMaxPool2d": (3,),
    "ZeroPad2d": (1,),
    "ChannelShuffle": (2,),
    "StochasticDepth": (0.5, "row"),
}

REFERENCES = {
    "mlp": references.mlp,
    "conv4": references.conv4,
    "resnet12": references.resnet12,
    "vit": references.vit,
}


def random(*shape: int, seed: int) -> Tensor:
    rng = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=rng, dtype=torch.float64)


def parameters(network: Network, sharing: str, episodes: int) -> Params:
    """Parameters off their initial zeros and ones: shared, own, or mixed within each layer."""
    params: Params = {}
    for i, (name, value) in enumerate(network.init(torch.Generator().manual_seed(3)).items()):
        own = sharing == "own" or (sharing == "mixed" and i % 2 == 1)
        shape = (episodes, *value.shape) if own else value.shape
        noise = random(*shape, seed=i)
        params[name] = value.double() + 0.05 * noise
    return params


def of_episode(params: Params, shapes: dict[str, torch.Size], t: int) -> Params:
    return {
        name: value if value.dim() == len(shapes[name]) else value[t]
        for name, value in params.items()
    }


def learned_and_judged(network: Network, params: Params, support: Tensor, query: Tensor) -> Tensor:
    """Outputs of the support with its own statistics, and of the query with those."""
    features, statistics = network.features(params, support, collect=network.batch_normalized)
    judged = network(params, query, statistics or None)
    return torch.cat([network.head(params, features), judged], 1)


def one_by_one(
    reference: Reference, network: Network, params: Params, support: Tensor, query: Tensor
) -> Tensor:
    shapes = network.shapes
    rows = []
    for t in range(len(support)):
        own = of_episode(params, shapes, t)
        outputs, statistics = reference(own, support[t], None)
        rows.append(torch.cat([outputs, reference(own, query[t], statistics or None)[0]]))
    return torch.stack(rows)


def derivatives(outputs: Tensor, leaves: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
    """Gradients of a loss, and gradients of their squared length."""
    loss = (outputs - 0.3).square().mean()
    options = {"allow_unused": True, "materialize_grads": True}
    first = torch.autograd.grad(loss, leaves, create_graph=True, **options)
    length = torch.stack([gradient.square().sum() for gradient in first]).sum()
    second = torch.autograd.grad(length, leaves, **options)
    return [gradient.detach() for gradient in first], list(second)


def agree(found: list[Tensor], expected: list[Tensor]) -> None:
    """To a relative error of 1e-9 in each tensor; what is zero but for rounding, of the whole."""
    whole = torch.stack([value.norm() for value in expected]).norm()
    assert whole > 1e-6
    for one, other in zip(found, expected, strict=True):
        assert one.shape == other.shape
        assert (one - other).norm() <= 1e-9 * max(other.norm(), 1e-3 * whole)


def compare(
    network: Network,
    reference: Reference,
    params: Params,
    support: Tensor,
    query: Tensor,
    learned: list[str] | None = None,
) -> None:
    for name in learned or params:
        params[name].requires_grad_()
    leaves = [value for value in params.values() if value.requires_grad]
    leaves += [support.requires_grad_(), query.requires_grad_()]
    found = learned_and_judged(network, params, support, query)
    expected = one_by_one(reference, network, params, support, query)
    agree([found.detach()], [expected.detach()])
    for mine, theirs in zip(derivatives(found, leaves), derivatives(expected, leaves), strict=True):
        agree(mine, theirs)


@pytest.mark.parametrize("sharing", ["shared", "own", "mixed"])
@pytest.mark.parametrize("case", SMALL)
def test_a_family_equals_a_plain_loop_to_second_order(case: str, sharing: str) -> None:
    family, settings = SMALL[case]
    network = build(family, IMAGE, OUTPUTS, settings)
    params = parameters(network, sharing, 3)
    support, query = random(3, 4, *IMAGE, seed=1), random(3, 5, *IMAGE, seed=2)
    compare(network, REFERENCES[family](settings), params, support, query)


SIDES = {"resnet18": 32, "convnext_tiny": 32}
"""Other models get images of side 64. With four values a channel, as the last maps of an image of
side 32 have, their many batch normalizations magnify rounding errors beyond 1e-9."""


def large_case(model: str, sharing: str) -> tuple[Network, Params, Tensor, Tensor]:
    """A model of torchvision, its parameters, and support and query images of 2 episodes."""
    side = SIDES.get(model, 64)
    shape = (3, side, side)
    network = build("torchvision", shape, OUTPUTS, {"model": model})
    support, query = random(2, 4, *shape, seed=1), random(2, 2, *shape, seed=2)
    return network, parameters(network, sharing, 2), support, query


@pytest.mark.parametrize(
    ("model", "sharing"),
    [("resnet18", "own"), ("resnet18", "mixed"), ("mobilenet_v3_small", "mixed")],
)
def test_a_model_of_torchvision_equals_itself_to_second_order(model: str, sharing: str) -> None:
    network, params, support, query = large_case(model, sharing)
    reference = references.torchvision_reference(model, OUTPUTS)
    compare(network, reference, params, support, query)


def test_layers_that_only_convnext_has_agree_to_second_order() -> None:
    network, params, support, query = large_case("convnext_tiny", "shared")
    learned = ["features.0.1.scale", "features.1.0.layer_scale", "features.1.0.block.5.bias"]
    learned += ["features.1.0.block.0.weight", "features.1.0.block.2.shift"]
    for seed, name in enumerate(learned):
        params[name] = params[name] + 0.1 * random(2, *params[name].shape, seed=seed)
    reference = references.torchvision_reference("convnext_tiny", OUTPUTS)
    compare(network, reference, params, support[:, :2], query[:, :1], learned)


@pytest.mark.parametrize(
    "model",
    ["shufflenet_v2_x0_5", "regnet_x_400mf", "mnasnet0_5", "efficientnet_b0", "densenet121"],
)
def test_a_model_of_torchvision_gives_its_outputs_and_statistics(model: str) -> None:
    network, params, support, query = large_case(model, "mixed")
    reference = references.torchvision_reference(model, OUTPUTS)
    with torch.no_grad():
        found = learned_and_judged(network, params, support, query)
        agree([found], [one_by_one(reference, network, params, support, query)])


def test_batch_normalization_is_that_of_torchvision_in_training() -> None:
    """The reference's own normalization stands in for `BatchNorm2d`: check it against that."""
    network, params, inputs, _ = large_case("resnet18", "shared")
    module = references.torchvision_module("resnet18", OUTPUTS)
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.train()
    with torch.no_grad():
        original = references.original_names(module, params)
        expected = torch.func.functional_call(module, original, (inputs[0],))
        agree([network(params, inputs[:1])[0]], [expected])


@pytest.mark.parametrize("case", [*SMALL, "mobilenet_v3_small"])
def test_a_query_does_not_see_other_queries_when_statistics_are_given(case: str) -> None:
    if case in SMALL:
        network = build(SMALL[case][0], IMAGE, OUTPUTS, SMALL[case][1])
        params = parameters(network, "mixed", 2)
        support, query = random(2, 4, *IMAGE, seed=1), random(2, 3, *IMAGE, seed=2)
    else:
        network, params, support, query = large_case(case, "mixed")
    with torch.no_grad():
        _, statistics = network.features(params, support, collect=network.batch_normalized)
        together = network(params, query, statistics or None)
        alone = network(params, query[:, 1:2], statistics or None)
    torch.testing.assert_close(together[:, 1:2], alone, rtol=1e-10, atol=1e-12)
    assert set(statistics) == batch_normalized_layers(network)


def batch_normalized_layers(network: Network) -> set[str]:
    if not network.batch_normalized:
        return set()
    return {name.removesuffix(".scale") for name in network.shapes if name.endswith(".scale")}


@pytest.mark.parametrize("kind", sorted(set(LAYERS) - {*WITH_PARAMETERS, *AXES}))
def test_what_has_no_parameters_has_exact_second_derivatives(kind: str) -> None:
    module = next(getattr(home, kind) for home in (nn, torchvision.ops) if hasattr(home, kind))
    layer = module(*ARGUMENTS.get(kind, ()))
    run = Pass({}, 2, None, None)
    inputs = (2 * random(4, 2, 4, 4, seed=1)).requires_grad_()

    def function(value: Tensor) -> Tensor:
        return LAYERS[kind](run, "x", layer.eval(), value)

    torch.testing.assert_close(function(inputs), layer(inputs))
    assert torch.autograd.gradcheck(function, inputs)
    assert torch.autograd.gradgradcheck(function, inputs)


def test_moments_of_the_reference_are_those_of_torch() -> None:
    maps = random(3, 2, 4, 5, seed=0)
    found: Moments = {"x": references.moments(maps)}
    variance, mean = torch.var_mean(maps, (0, 2, 3), correction=0)
    torch.testing.assert_close(found["x"], (mean, variance))

"""What does not fit together, and what is said about it."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from algorithms import ALGORITHMS, RecipeError, make
from algorithms.compose import compose
from algorithms.recipe import CHOICES, MAML, Recipe, conflicts
from networks import Network, Params, build
from tests.algorithms.problems import (
    WAYS,
    classification_objective,
    generator,
    hyperparameters,
    regression_objective,
    small_conv4,
    small_mlp,
)

CONFLICTS = {
    "rates": (Recipe(rate="layer"), "rate: 'layer'", "rate_learned"),
    "rates of steps": (Recipe(rate="layer_step"), "rate: 'layer_step'", "rate_learned"),
    "implicit": (Recipe(meta_gradient="implicit"), "proximal: False", "implicit"),
    "dead head": (Recipe(adapts="body", head="zeroed"), "head: 'zeroed'", "'body'"),
    "dead head below a context": (
        Recipe(adapts="context", head="zeroed"),
        "head: 'zeroed'",
        "'context'",
    ),
    "maps of a context": (
        Recipe(adapts="context", preconditioner="layerwise"),
        "preconditioner: 'layerwise'",
        "context",
    ),
    "matrices of a context": (
        Recipe(adapts="context", preconditioner="kronecker"),
        "preconditioner: 'kronecker'",
        "context",
    ),
}
UNTAUGHT = {
    "adapts": "head",
    "rate_learned": True,
    "preconditioner": "kronecker",
    "query_loss": "multi_step",
    "head": "zeroed",
    "inner_normalization": "per_step",
}
"""What neither Reptile's nor iMAML's meta-gradient could learn."""


def test_the_defaults_are_maml() -> None:
    assert ALGORITHMS["maml"].recipe == MAML == Recipe()
    assert all(MAML.parts()[name] == options[0] for name, options in CHOICES.items() if options[0])
    assert list(MAML.parts()) == list(CHOICES)


@pytest.mark.parametrize("name", [n for n, entry in ALGORITHMS.items() if entry.recipe])
def test_registered_recipes_are_free_of_conflicts(name: str) -> None:
    recipe = ALGORITHMS[name].recipe
    assert recipe is not None
    assert conflicts(recipe) == []


@pytest.mark.parametrize("case", CONFLICTS)
def test_a_conflict_names_field_value_and_reason(case: str) -> None:
    recipe, field_and_value, reason = CONFLICTS[case]
    (line,) = conflicts(recipe)
    assert line.startswith(f"{field_and_value}: ")
    assert reason in line.removeprefix(field_and_value)


@pytest.mark.parametrize("meta_gradient", ["difference", "implicit"])
@pytest.mark.parametrize("field", UNTAUGHT)
def test_what_a_meta_gradient_does_not_teach(field: str, meta_gradient: str) -> None:
    recipe = Recipe(meta_gradient=meta_gradient, proximal=True)
    assert conflicts(recipe) == []
    (line,) = conflicts(replace(recipe, **{field: UNTAUGHT[field]}))
    assert line.startswith(f"{field}: {UNTAUGHT[field]!r}: ")
    assert repr(meta_gradient) in line


@pytest.mark.parametrize("field", CHOICES)
def test_an_unknown_choice_is_answered_with_those_there_are(field: str) -> None:
    unknown = "  " if field == "adapts" else "other"
    (line,) = conflicts(replace(Recipe(), **{field: unknown}))
    assert line.startswith(f"{field}: {unknown!r}: ")
    assert all(str(option) in line for option in CHOICES[field])


def test_all_conflicts_are_named_at_once() -> None:
    recipe = Recipe(adapts="context", preconditioner="layerwise", rate="layer", head="zeroed")
    lines = conflicts(recipe)
    assert [line.partition(":")[0] for line in lines] == ["rate", "head", "preconditioner"]
    with pytest.raises(RecipeError) as caught:
        compose("x", small_mlp(), regression_objective(), recipe)
    assert str(caught.value).split("\n") == lines


def test_an_unknown_layer_is_answered_with_the_networks_layers() -> None:
    with pytest.raises(RecipeError, match="adapts: 'block9'") as caught:
        compose("x", small_mlp(), regression_objective(), Recipe(adapts="head, block9"))
    message = str(caught.value)
    assert "mlp" in message
    assert all(layer in message for layer in ("layer1", "layer2", "head"))


def test_prototypes_need_classes() -> None:
    with pytest.raises(RecipeError, match="head: 'prototypes': needs classes"):
        compose("x", small_mlp(), regression_objective(), Recipe(head="prototypes"))
    for name, entry in ALGORITHMS.items():
        if entry.classes:
            with pytest.raises(RecipeError, match="needs classes"):
                make(name, small_mlp(), regression_objective(), {})


def without_bias(network: Network) -> Network:
    """Return a network whose parameters are weights alone, as far as its names tell."""

    def init(rng: torch.Generator) -> Params:
        weights = network.init(rng)
        return {name: value for name, value in weights.items() if name.endswith(".weight")}

    return replace(network, init=init)


def test_a_context_needs_something_to_shift() -> None:
    network, objective = without_bias(small_mlp()), regression_objective()
    with pytest.raises(RecipeError, match="adapts: 'context': mlp has no bias or scale"):
        compose("x", network, objective, Recipe(adapts="context"))


@pytest.mark.parametrize("adapts", ["layer1", "*2"])
def test_a_zeroed_head_must_move(adapts: str) -> None:
    with pytest.raises(RecipeError, match="head: 'zeroed'"):
        compose("x", small_mlp(), regression_objective(), Recipe(adapts=adapts, head="zeroed"))


def test_something_must_move() -> None:
    network = replace(small_conv4(), head_names=tuple(small_conv4().shapes))
    with pytest.raises(RecipeError, match="adapts: 'body': nothing of conv4 would adapt"):
        compose("x", network, classification_objective(), Recipe(adapts="body"))


def test_the_composed_algorithm_takes_its_parts_from_hyperparameters() -> None:
    values = {"adapts": "head", "rate": "layer", "rate_learned": True, "inner_lr": 0.1}
    algorithm = make("composed", small_mlp(), regression_objective(), values)
    meta, _ = algorithm.init(hyperparameters(), generator())
    assert {name for name in meta if name.startswith("rate/")} == {"rate/head"}
    assert ALGORITHMS["composed"].choices == tuple(CHOICES)
    with pytest.raises(RecipeError, match="rate: 'layer'"):
        make("composed", small_mlp(), regression_objective(), values | {"rate_learned": False})


def test_an_unknown_algorithm_is_a_key_error() -> None:
    with pytest.raises(KeyError, match="mamal"):
        make("mamal", small_mlp(), regression_objective(), {})


def test_layerwise_maps_refuse_grouped_convolutions() -> None:
    network = build("torchvision", (3, 32, 32), WAYS, {"model": "mobilenet_v3_small"})
    with pytest.raises(RecipeError, match=r"'layerwise'.*grouped convolution features\.1"):
        compose("grouped", network, classification_objective(), Recipe(preconditioner="layerwise"))
    compose("grouped", network, classification_objective(), Recipe(preconditioner="kronecker"))

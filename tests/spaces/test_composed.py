"""The space of the composed algorithm draws what fits together, all of it and nothing else."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice, product

import pytest
import torch

import algorithms
import networks
from algorithms import ALGORITHMS, Objective
from algorithms.parts.losses import LOSSES
from algorithms.parts.noise import keys_of
from algorithms.recipe import CHOICES, MAML, Recipe, conflicts
from search.building import build, hyperparameters
from search.study import REFERENCE, Halving, SearchStudy
from spaces.algorithms import COMPOSED
from spaces.composed import PARTS
from spaces.parameter import Fixed, Int, Parameter, Value, values_of
from spaces.search_space import Learner, SearchSpace
from spaces.space import Kind, bare
from tests.search.small_runs import STRUCTURES, distribution, small_config
from tests.spaces.draws import Random, recipe_of
from tests.spaces.enqueued import drawn

PLACES: list[tuple[Kind, str]] = [
    ("classification", "mlp"),
    ("classification", "conv4"),
    ("classification", "vit"),
    ("classification", "torchvision"),
    ("regression", "mlp"),
]
SAMPLES, BUILT = 2000, 30
SMALL = {"inner_lr": 0.01, "meta_batch_size": 2, "context_size": 3, "cg_steps": 2}

places = pytest.mark.parametrize(("kind", "network"), PLACES)


def space_of(kind: Kind, network: str, **overrides: Parameter) -> SearchSpace:
    full = {name.replace("__", "/"): value for name, value in overrides.items()}
    return SearchSpace(["composed"], [network], kind, full)


def samples(kind: Kind, network: str) -> Iterator[tuple[Learner, Random]]:
    space, rng = space_of(kind, network), random.Random(0)
    while True:
        trial = Random(rng)
        yield space.suggest(trial), trial


@places
def test_no_sample_contradicts_itself(kind: Kind, network: str) -> None:
    outer = {"outer_lr", "outer_optimizer", "outer_schedule", "weight_decay", "clip_norm"}
    always = {*CHOICES, *outer, "inner_lr", "inner_steps", "inner_steps_evaluation"}
    for learner, trial in islice(samples(kind, network), SAMPLES):
        recipe = recipe_of(learner.hyper)
        assert conflicts(recipe) == [], learner.hyper
        assert learner.hyper.keys() >= always
        asked = [bare(name.partition("/")[2]) for name in trial.params if "composed/" in name]
        assert len(asked) == len(set(asked)), "two variants of a parameter apply"
        needed = {
            "inner_momentum": recipe.inner_optimizer in ("momentum", "adam"),
            "inner_decay": recipe.inner_optimizer in ("rmsprop", "adam"),
            "proximal_strength": recipe.proximal,
            "cg_steps": recipe.meta_gradient == "implicit",
            "context_size": recipe.adapts == "context",
            "multi_step_share": recipe.query_loss == "multi_step",
            "first_order_share": recipe.meta_gradient == "annealed",
        }
        for name, is_needed in needed.items():
            assert (name in learner.hyper) == is_needed, name


@places
def test_exactly_one_variant_of_each_parameter_applies(kind: Kind, network: str) -> None:
    sometimes = {"inner_momentum", "inner_decay", "proximal_strength", "cg_steps", "context_size"}
    sometimes |= {"multi_step_share", "first_order_share"}
    rng = random.Random(1)
    for _ in range(200):
        met: list[str] = []

        def ask(name: str, parameter: Parameter, met: list[str] = met) -> Value:
            met.append(bare(name))
            return parameter.suggest(Random(rng), name)

        given: dict[str, Value] = {"kind": kind, "normalized": rng.choice((False, True))}
        if network == "torchvision":
            given["grouped"] = rng.choice((False, True))
        COMPOSED.walk(given, ask)
        assert len(met) == len(set(met))
        assert {bare(name) for name in COMPOSED.parameters} - set(met) <= sometimes


@pytest.mark.parametrize(("kind", "network"), [place for place in PLACES if place[1] in STRUCTURES])
def test_samples_build_and_have_finite_meta_gradients(kind: Kind, network: str) -> None:
    torch.manual_seed(0)
    source = distribution(kind)
    episodes = source.sample("train", 0, range(2))
    for learner, _ in islice(samples(kind, network), BUILT):
        hyper = dict(learner.hyper) | {k: v for k, v in SMALL.items() if k in learner.hyper}
        hyper["inner_steps"] = min(2, int(hyper["inner_steps"]))
        settings = dict(learner.settings) | STRUCTURES[network]
        like = small_config("maml", kind, network=network, settings=settings)
        config = type(like)(like.problem, "composed", network, hyper, settings, episodes=24)
        algorithm, _ = build(config, source)
        values = hyperparameters(config, torch.device("cpu"))
        meta, state = algorithm.init(values, torch.Generator().manual_seed(0))
        gradients, _, diagnostics = algorithm.meta_gradients(
            meta,
            state,
            {**values, "progress": torch.tensor(0.5)},
            episodes,
            keys_of(0, episodes.index),
        )
        assert gradients.keys() == meta.keys()
        for name, value in gradients.items():
            assert value.isfinite().all(), (name, learner.hyper)
        assert any(value.abs().sum() > 0 for value in gradients.values()), learner.hyper
        assert diagnostics["query_loss"].isfinite().all()


def options_of(name: str, parameter: Parameter) -> tuple[Value, ...]:
    """Return what to try of a parameter: every part, one step or two, else any one value."""
    if bare(name) in CHOICES:
        return values_of(parameter)
    if name == "inner_steps":
        return (1, 2)
    return values_of(parameter)[:1]


def every_walk(given: dict[str, Value]) -> Iterator[dict[str, Value]]:
    """Yield what every course of answers leads to."""
    courses: list[tuple[Value, ...]] = [()]
    while courses:
        answers = courses.pop()
        course: list[Value] = []

        def ask(
            name: str,
            parameter: Parameter,
            answers: tuple[Value, ...] = answers,
            course: list[Value] = course,
        ) -> Value:
            if len(course) < len(answers):
                course.append(answers[len(course)])
            else:
                first, *others = options_of(name, parameter)
                courses.extend((*course, other) for other in others)
                course.append(first)
            return course[-1]

        yield COMPOSED.walk(given, ask)


@pytest.mark.parametrize(("normalized", "grouped"), [(True, False), (False, False), (True, True)])
@pytest.mark.parametrize("kind", ["classification", "regression"])
def test_every_combination_without_a_conflict_can_be_drawn(
    kind: Kind, normalized: bool, grouped: bool
) -> None:
    given: dict[str, Value] = {"kind": kind, "normalized": normalized, "grouped": grouped}
    drawn = {recipe_of(values) for values in every_walk(given)}
    combinations = (
        dict(zip(CHOICES, values, strict=True)) for values in product(*CHOICES.values())
    )
    sensible = set()
    for parts in combinations:
        recipe = Recipe(**parts)  # type: ignore[arg-type]
        fits_kind = kind == "classification" or recipe.head != "prototypes"
        # Scales, shifts and statistics of each step are of use to layers that normalize.
        fits_network = normalized or recipe.inner_normalization == "network"
        fits_network &= not (grouped and recipe.preconditioner == "layerwise")
        if fits_kind and fits_network and not conflicts(recipe):
            sensible.add(recipe)
    assert len(sensible) > 1000
    assert drawn == sensible


NAMED = {name: entry.recipe for name, entry in ALGORITHMS.items() if entry.recipe is not None}


@pytest.mark.parametrize("name", NAMED)
def test_every_named_recipe_is_a_point(name: str) -> None:
    space = space_of("classification", "conv4")
    found = space.points("composed", "conv4")
    assert {*found, "maml"} == set(NAMED)
    parameters = space.defaults("composed", "conv4") if name == "maml" else found[name]
    learner = drawn(space, parameters)
    assert learner.settings["normalization"] == "batch"
    assert recipe_of(learner.hyper) == NAMED[name]


def test_a_point_has_the_published_values_where_the_ranges_hold_them() -> None:
    space = space_of("classification", "conv4")
    found = space.points("composed", "conv4")
    reptile, cavia = (drawn(space, found[name]).hyper for name in ("reptile", "cavia"))
    assert (reptile["outer_optimizer"], reptile["outer_lr"]) == ("sgd", 1.0)
    assert (reptile["inner_steps"], reptile["weight_decay"]) == (5, 0.0)
    assert (cavia["context_size"], cavia["inner_lr"]) == (100, 1.0)


def test_regression_has_the_points_that_need_no_classes() -> None:
    found = space_of("regression", "mlp").points("composed", "mlp")
    assert set(found) == set(NAMED) - {"maml", "proto-maml"}


@pytest.mark.parametrize(
    ("network", "override", "normalization"),
    [
        ("mlp", None, "network"),  # It has no layers that normalize.
        ("mlp", "layer", "per_step"),
        ("conv4", "none", "network"),
        ("conv4", "group", "per_step"),
        ("vit", None, "per_step"),
        ("torchvision", None, "per_step"),
    ],
)
def test_maml_plus_plus_is_what_the_recipe_of_that_name_is_on_every_network(
    network: str, override: str | None, normalization: str
) -> None:
    overrides = {} if override is None else {f"{network}/normalization": Fixed(override)}
    space = SearchSpace(["composed"], [network], "classification", overrides)
    learner = drawn(space, space.points("composed", network)["mamlpp"])
    assert learner.hyper["inner_normalization"] == normalization
    built = networks.build(network, (3, 28, 28), 5, learner.settings)
    objective = Objective(LOSSES["classification"], ways=5, train_classes=64)
    hyper = {"inner_lr": torch.tensor(0.1), "inner_steps": 2}
    wanted, found = (
        algorithms.make(name, built, objective, learner.hyper).init(hyper, torch.Generator())
        for name in ("mamlpp", "composed")
    )
    for ours, named in zip(found, wanted, strict=True):
        assert {name: value.shape for name, value in ours.items()} == {
            name: value.shape for name, value in named.items()
        }


def test_a_point_that_an_override_makes_another_recipe_is_left_out() -> None:
    def points(**overrides: Parameter) -> dict[str, dict[str, Value]]:
        return space_of("regression", "mlp", **overrides).points("composed", "mlp")

    everything = points()
    assert set(everything) - set(points(composed__preconditioner=Fixed("none"))) == {
        "t-net",
        "mt-net",
        "meta-curvature",
    }
    moved = points(composed__inner_steps=Int(1, 3))
    assert set(moved) == set(everything)
    assert moved["reptile"]["composed/inner_steps"] == 3


def test_points_are_the_first_trials_and_not_references() -> None:
    space = SearchSpace(["composed"], ["mlp", "conv4"], "classification")
    study = SearchStudy("points", "sqlite://", "maximize", Halving(8, 3), 0)
    for _ in range(2):  # the second time as after an interruption: nothing is enqueued twice
        for network in space.networks:
            study.enqueue(space.defaults("composed", network))
            for parameters in space.points("composed", network).values():
                study.enqueue(parameters, reference=False)
    points = [
        (network, name)
        for network in space.networks
        for name in ("maml", *space.points("composed", network))
    ]
    assert len(study.trials("WAITING")) == len(points)
    for network, name in points:
        trial = study.ask()
        learner = space.suggest(trial)
        assert learner.network == network
        recipe = NAMED[name]
        if network == "mlp":  # It normalizes nothing.
            recipe = replace(recipe, inner_normalization="network")
        assert recipe_of(learner.hyper) == recipe
        assert (REFERENCE in trial.user_attrs) == (name == "maml")
    assert study.trials("WAITING") == []


def test_parts_are_the_choices_of_a_recipe() -> None:
    assert set(PARTS) == set(CHOICES)
    assert recipe_of(dict(COMPOSED.defaults["classification"])) == MAML

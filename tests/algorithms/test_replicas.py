"""Replicas that run as one batch do what each does alone."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from algorithms import Hyper
from algorithms.algorithm import Diagnostics
from algorithms.compose import compose
from algorithms.engine import Formulation
from algorithms.engine import meta_gradients as in_engine
from algorithms.parts.axis import stacked
from algorithms.parts.queries import queries_at_once
from algorithms.recipe import CHOICES, Recipe, conflicts
from algorithms.replicas import direct
from episodes.episode import joined
from networks import Params
from tests.algorithms.learners import SEPARABLE, Learner, all_close, learner, learning
from tests.algorithms.problems import (
    hyperparameters,
    image_episodes,
    keys_of,
    regression_episodes,
    scrambled,
)

EACH = 2
Results = tuple[Params, Params, Diagnostics]


def replicas_of(plain: Learner, hypers: list[Hyper]) -> list[Learner]:
    """Return learners that differ in seed, episodes, state and hyperparameters."""
    found = []
    for i, hyper in enumerate(hypers):
        one = learning(plain.algorithm, replace(plain, hyper=hyper), seed=i)
        make = regression_episodes if plain.objective.ways is None else image_episodes
        one = replace(one, episodes=make(EACH, seed=i), meta=scrambled(one.meta, seed=i))
        found.append(replace(one, state=one.gradients()[1]))
    return found


def together(learners: list[Learner]) -> tuple:
    """Return the arguments that stand for all of them at once."""
    hyper = {}
    for name, first in learners[0].hyper.items():
        values = [one.hyper[name] for one in learners]
        apart = isinstance(first, Tensor) and any(value != first for value in values)
        hyper[name] = torch.stack(values) if apart else first
    return (
        learners[0].algorithm,
        stacked([one.meta for one in learners]),
        stacked([one.state for one in learners]) if learners[0].state else {},
        hyper,
        joined([one.episodes for one in learners]),
        torch.cat([keys_of(one.episodes, seed=i) for i, one in enumerate(learners)]),
    )


def alone(learners: list[Learner]) -> Results:
    results = [
        one.algorithm.meta_gradients(
            one.meta, one.state, one.hyper, one.episodes, keys_of(one.episodes, seed=i)
        )
        for i, one in enumerate(learners)
    ]
    return (
        stacked([result[0] for result in results]),
        stacked([result[1] for result in results]) if results[0][1] else {},
        {key: torch.cat([result[2][key] for result in results]) for key in results[0][2]},
    )


def check(found: Results, expected: Results) -> None:
    for ours, theirs in zip(found, expected, strict=True):
        all_close(ours, theirs)


CHANGING = {
    "inner_lr": st.floats(0.01, 0.2),
    "progress": st.sampled_from([0.0, 0.3, 0.49, 0.5, 0.8, 0.95, 1.0]),
    "multi_step_share": st.floats(0.3, 1.0),
    "first_order_share": st.floats(0.0, 1.0),
    "inner_momentum": st.floats(0.1, 0.9),
    "inner_decay": st.floats(0.5, 0.95),
    "inner_weight_decay": st.floats(0.1, 0.5),
    "proximal_strength": st.floats(5.0, 9.0),
    "attention_scale": st.floats(0.5, 5.0),
}


@settings(max_examples=3, deadline=None, derandomize=True)
@given(count=st.integers(1, 4), transductive=st.booleans())
@pytest.mark.parametrize("named", SEPARABLE, ids=" ".join)
def test_seeds_of_one_configuration(named: tuple[str, str], count: int, transductive: bool) -> None:
    learners = replicas_of(learner(*named, transductive), [hyperparameters()] * count)
    check(direct(*together(learners), replicas=count), alone(learners))


@settings(max_examples=4, deadline=None, derandomize=True)
@given(data=st.data())
@pytest.mark.parametrize("named", SEPARABLE, ids=" ".join)
def test_each_replica_has_hyperparameters_of_its_own(
    named: tuple[str, str], data: st.DataObject
) -> None:
    drawn = [{name: data.draw(values) for name, values in CHANGING.items()} for _ in range(3)]
    learners = replicas_of(learner(*named), [hyperparameters(**values) for values in drawn])
    check(direct(*together(learners), replicas=3), alone(learners))


@pytest.mark.parametrize("named", SEPARABLE, ids=" ".join)
def test_inner_rates_differ_and_nothing_else(named: tuple[str, str]) -> None:
    hypers = [hyperparameters(rate) for rate in (0.02, 0.1)]
    learners = replicas_of(learner(*named), hypers)
    check(direct(*together(learners), replicas=2), alone(learners))


RECIPES = [
    *(Recipe(inner_optimizer=str(o), proximal=True) for o in CHOICES["inner_optimizer"]),
    *(Recipe(rate=str(rate), rate_learned=True) for rate in CHOICES["rate"]),
    *(Recipe(adapts=adapts, head="zeroed") for adapts in ("all", "head", "subspace", "*2,head")),
    *(Recipe(meta_gradient="annealed", adapts=str(adapts)) for adapts in CHOICES["adapts"]),
    *(Recipe(preconditioner=str(p), adapts="head") for p in CHOICES["preconditioner"]),
    *(Recipe(meta_gradient="implicit", proximal=True, inner_optimizer=o) for o in ("adam", "sgd")),
    Recipe(meta_gradient="difference", inner_optimizer="adam", proximal=True),
    Recipe(query_loss="multi_step", inner_normalization="per_step", adapts="head"),
    Recipe(query_loss="multi_step", inner_normalization="per_step", preconditioner="layerwise"),
    Recipe(adapts="context", inner_normalization="per_step", rate="layer_step", rate_learned=True),
]


def label(recipe: Recipe) -> str:
    return " ".join(str(value) for value in recipe.parts().values())


@pytest.mark.parametrize("kind", ["regression", "classification"])
@pytest.mark.parametrize("recipe", RECIPES, ids=label)
def test_parts_take_an_axis_of_replicas(recipe: Recipe, kind: str) -> None:
    assert not conflicts(recipe)
    plain = learner("maml", kind)
    plain = replace(plain, algorithm=compose("x", plain.network, plain.objective, recipe))
    values = [
        {"inner_lr": 0.03, "inner_momentum": 0.2, "inner_decay": 0.6, "proximal_strength": 6.0},
        {"inner_lr": 0.06, "inner_momentum": 0.5, "inner_decay": 0.7, "proximal_strength": 8.0},
        {"inner_lr": 0.09, "progress": 0.3, "multi_step_share": 0.5, "first_order_share": 0.2},
    ]
    learners = replicas_of(plain, [hyperparameters(**each) for each in values])
    check(direct(*together(learners), replicas=3), alone(learners))
    with queries_at_once(EACH + 1):  # Not the border of a replica.
        check(direct(*together(learners), replicas=3), alone(learners))


@pytest.mark.parametrize("size", [1, EACH, 2 * EACH, 3 * EACH, 100])
@pytest.mark.parametrize("chunk", [1, 100])
@pytest.mark.parametrize("named", [("mamlpp", "classification"), ("pretrain", "classification")])
def test_the_engine_groups_replicas(named: tuple[str, str], chunk: int, size: int) -> None:
    hypers = [hyperparameters(rate) for rate in (0.02, 0.05, 0.1)]
    learners = replicas_of(learner(*named), hypers)
    algorithm, *rest = together(learners)
    found = in_engine(algorithm, Formulation(chunk, together=size), *rest, replicas=3)
    check(found, alone(learners))

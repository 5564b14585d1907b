"""What a user sets a parameter to holds wherever it fits, and is never passed by in silence."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from algorithms.recipe import conflicts
from spaces.parameter import Choice, Fixed, Float, Parameter, Value
from spaces.search_space import SearchSpace
from tests.spaces.draws import Random, recipe_of

Check = Callable[[dict[str, Value]], bool]
OVERRIDES: list[tuple[str, Parameter, Check]] = [
    # where the head moves at all, it starts at zero
    (
        "composed/head",
        Fixed("zeroed"),
        lambda h: (
            (h["head"] == "zeroed")
            == (
                h["meta_gradient"] not in ("difference", "implicit")
                and h["adapts"] in ("all", "head", "subspace")
            )
        ),
    ),
    ("*/head", Choice(("learned", "zeroed")), lambda h: h["head"] != "prototypes"),
    (
        "composed/adapts",
        Fixed("block1,head"),
        lambda h: (
            (h["adapts"] == "block1,head") == (h["meta_gradient"] not in ("difference", "implicit"))
        ),
    ),
    (
        "composed/adapts",
        Choice(("block1", "head")),
        lambda h: h["adapts"] not in ("body", "context"),
    ),
    ("*/weight_decay", Choice((0.0, 0.001)), lambda h: h["weight_decay"] in (0.0, 0.001)),
    ("composed/weight_decay", Fixed(0.01), lambda h: h["weight_decay"] == 0.01),
    ("composed/outer_optimizer", Fixed("sgd"), lambda h: h["outer_optimizer"] == "sgd"),
    ("*/outer_optimizer", Fixed("momentum"), lambda h: h["outer_optimizer"] == "momentum"),
    ("composed/outer_lr", Float(0.001, 0.01), lambda h: 0.001 <= float(h["outer_lr"]) <= 0.01),
    (
        "composed/outer_lr@difference",
        Fixed(0.25),
        lambda h: (h["outer_lr"] == 0.25) == (h["meta_gradient"] == "difference"),
    ),
    (
        "*/weight_decay@none",
        Fixed(0.3),
        lambda h: (h["weight_decay"] == 0.3) == (h["meta_gradient"] == "difference"),
    ),
    ("composed/rate_learned", Fixed(False), lambda h: h["rate"] != "one" or not h["rate_learned"]),
    ("composed/meta_gradient", Fixed("implicit"), lambda h: h["meta_gradient"] == "implicit"),
    (
        "composed/query_loss",
        Fixed("multi_step"),
        lambda h: (
            (h["query_loss"] == "multi_step")
            == (
                h["meta_gradient"] not in ("difference", "implicit")
                and int(str(h["inner_steps"])) > 1
            )
        ),
    ),
]


@pytest.mark.parametrize(("name", "override", "holds"), OVERRIDES, ids=[o[0] for o in OVERRIDES])
def test_an_override_holds_in_every_sample(name: str, override: Parameter, holds: Check) -> None:
    space = SearchSpace(["composed"], ["conv4"], "classification", {name: override})
    rng = random.Random(3)
    for _ in range(500):
        hyper = space.suggest(Random(rng)).hyper
        assert holds(hyper), hyper
        assert conflicts(recipe_of(hyper)) == [], hyper


@pytest.mark.parametrize(("name", "override"), [o[:2] for o in OVERRIDES])
def test_a_resolved_space_overrides_to_itself(name: str, override: Parameter) -> None:
    space = SearchSpace(["composed"], ["conv4"], "classification", {name: override})
    again = SearchSpace(["composed"], ["conv4"], "classification", space.parameters)
    assert again.parameters == space.parameters

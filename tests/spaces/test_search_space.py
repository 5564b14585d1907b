"""The space of a whole search: conditional parameters, overrides, enqueued defaults."""

from __future__ import annotations

import pickle
import re
from itertools import product
from typing import Any

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from algorithms.recipe import CHOICES, MAML, Recipe
from spaces.algorithms import ALGORITHM_SPACES
from spaces.errors import SpaceError
from spaces.networks import NETWORK_SPACES
from spaces.parameter import Choice, Fixed, Float, Int, Parameter
from spaces.search_space import SPACES, SearchSpace
from spaces.space import bare

CLASSIFIERS = tuple(n for n, space in NETWORK_SPACES.items() if "classification" in space.defaults)
EVERYTHING = SearchSpace(tuple(ALGORITHM_SPACES), CLASSIFIERS, "classification")


def study(seed: int = 0) -> optuna.Study:
    return optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_a_suggested_learner_is_complete_and_inside(seed: int) -> None:
    trial = study(seed).ask()
    learner = EVERYTHING.suggest(trial)
    for owner, values in (
        (learner.algorithm, learner.hyper),
        (learner.network, learner.settings),
    ):
        known = SPACES[owner].parameters
        if not SPACES[owner].conditions:
            assert set(values) == set(known)
        for name, value in values.items():
            own = [EVERYTHING.parameters[f"{owner}/{each}"] for each in known if bare(each) == name]
            assert any(parameter.contains(value) for parameter in own)


def test_only_what_was_chosen_is_suggested() -> None:
    trial = study().ask()
    learner = EVERYTHING.suggest(trial)
    owners = {name.partition("/")[0] for name in trial.params}
    assert owners == {"algorithm", "network", learner.algorithm, learner.network}
    assert f"{learner.algorithm}/outer_optimizer" not in trial.params


@pytest.mark.parametrize(
    ("algorithm", "network", "message"),
    [
        (
            "prototypical",
            "unet",
            "prototypical: is not for segmentation problems (for these: maml, ",
        ),
        ("matching", "unet", "matching: is not for segmentation problems"),
        ("proto-maml", "unet", "proto-maml: is not for segmentation problems"),
        ("maml", "conv4", "conv4: is not for segmentation problems (for these: unet)"),
    ],
)
def test_what_cannot_mark_masks_is_refused(algorithm: str, network: str, message: str) -> None:
    with pytest.raises(SpaceError, match=re.escape(message)):
        SearchSpace([algorithm], [network], "segmentation")


def test_nothing_is_asked_where_there_is_no_choice() -> None:
    trial = study().ask()
    learner = SearchSpace(["maml"], ["mlp"], "regression").suggest(trial)
    assert (learner.algorithm, learner.network) == ("maml", "mlp")
    assert not {"algorithm", "network"} & set(trial.params)


@pytest.mark.parametrize(("algorithm", "network"), list(product(ALGORITHM_SPACES, CLASSIFIERS)))
def test_the_enqueued_default_is_the_published_one(algorithm: str, network: str) -> None:
    searched = study()
    searched.enqueue_trial(EVERYTHING.defaults(algorithm, network))
    learner = EVERYTHING.suggest(searched.ask())
    assert (learner.algorithm, learner.network) == (algorithm, network)
    published = ALGORITHM_SPACES[algorithm].defaults["classification"]
    if algorithm == "composed":
        # Of its defaults, those that matter: the ones of MAML, which it is by default.
        parts = {name: value for name, value in learner.hyper.items() if name in CHOICES}
        assert Recipe(**parts) == MAML
        wanted = {*CHOICES, *ALGORITHM_SPACES["maml"].parameters}
        published = {name: value for name, value in published.items() if name in wanted}
    assert learner.hyper == published
    assert learner.settings == NETWORK_SPACES[network].defaults["classification"]


def test_a_default_outside_an_override_moves_to_the_nearest_value_and_is_told() -> None:
    space = SearchSpace(
        ["maml", "reptile"],
        ["mlp"],
        "regression",
        {
            "maml/inner_lr": Float(0.05, 0.1),
            "*/inner_steps_evaluation": Fixed(5),
            "mlp/width": Choice((32, 64)),
            "reptile/inner_steps": Int(1, 3),
        },
    )
    assert space.adjusted_defaults() == {
        "maml/inner_lr": (0.01, 0.05),
        "reptile/inner_steps": (5, 3),
        "reptile/inner_steps_evaluation": (32, 5),
        "mlp/width": (40, 32),
    }
    searched = study()
    searched.enqueue_trial(space.defaults("reptile", "mlp"))
    learner = space.suggest(searched.ask())
    assert learner.algorithm == "reptile"
    assert learner.hyper["inner_steps"] == 3
    assert learner.hyper["inner_steps_evaluation"] == 5
    assert learner.settings["width"] == 32


def test_a_full_name_wins_over_a_star() -> None:
    overrides: dict[str, Parameter] = {"maml/inner_lr": Fixed(0.1), "*/inner_lr": Fixed(0.2)}
    space = SearchSpace(["maml", "anil"], ["mlp"], "regression", overrides)
    assert space.parameters["maml/inner_lr"] == Fixed(0.1)
    assert space.parameters["anil/inner_lr"] == Fixed(0.2)


def test_whole_numbers_for_a_real_parameter_become_real() -> None:
    overrides: dict[str, Parameter] = {"maml/inner_lr": Int(1, 2), "anil/inner_lr": Fixed(1)}
    space = SearchSpace(["maml", "anil"], ["mlp"], "regression", overrides)
    assert space.parameters["maml/inner_lr"] == Float(1.0, 2.0)
    assert isinstance(space.parameters["anil/inner_lr"].suggest(study().ask(), "x"), float)


def test_an_override_of_what_is_not_searched_is_no_error() -> None:
    space = SearchSpace(["maml"], ["mlp"], "regression", {"reptile/inner_lr": Fixed(0.1)})
    assert "reptile/inner_lr" not in space.parameters


def test_a_space_travels_to_another_process() -> None:
    assert pickle.loads(pickle.dumps(EVERYTHING.suggest)).__self__ == EVERYTHING


@pytest.mark.parametrize(
    ("name", "parameter", "message"),
    [
        ("maml/iner_lr", Fixed(0.1), "unknown parameter iner_lr: did you mean inner_lr?"),
        ("mamml/inner_lr", Fixed(0.1), "unknown algorithm or network mamml: did you mean maml?"),
        ("*/iner_lr", Fixed(0.1), "unknown parameter iner_lr: did you mean inner_lr?"),
        ("conv4/width", Fixed(16), "unknown parameter width: did you mean depth?"),
        (
            "inner_lr",
            Fixed(0.1),
            "say whose: */inner_lr for every algorithm or network that has it",
        ),
        ("maml/inner_lr", Fixed("adam"), "adam: must be a number from 0 to 100"),
        ("maml/inner_lr", Float(-1.0, 1.0), "-1.0: must be a number from 0 to 100"),
        ("maml/inner_steps", Float(1.0, 5.0), "1.0: must be a whole number from 1 to 1000"),
        (
            "maml/outer_optimizer",
            Choice(("adam", "lamb")),
            "lamb: must be one of adam, adamw, sgd, momentum",
        ),
        ("mlp/residual", Float(0.0, 1.0), "0.0 to 1.0: must be one of False, True"),
        ("mlp/residual", Int(0, 1), "0 to 1: must be one of False, True"),
        ("mlp/residual", Fixed(1), "1: must be one of False, True"),
    ],
)
def test_a_wrong_override_is_named(name: str, parameter: Parameter, message: str) -> None:
    with pytest.raises(SpaceError) as error:
        SearchSpace(["maml"], ["mlp"], "regression", {name: parameter})
    assert str(error.value) == f"{name}: {message}"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((["mamml"], ["mlp"]), "mamml: unknown: did you mean maml?"),
        ((["maml"], ["conv5"]), "conv5: unknown: did you mean conv4?"),
    ],
)
def test_unknown_names_are_refused(arguments: Any, message: str) -> None:
    with pytest.raises(SpaceError) as error:
        SearchSpace(*arguments, "regression")
    assert str(error.value) == message

"""The spaces of algorithms and networks agree with the code that they configure."""

from __future__ import annotations

import inspect
from typing import get_args

import pytest

from algorithms import ALGORITHMS
from networks import NETWORKS, build
from networks.layers import ACTIVATIONS, NORMALIZATIONS
from search.outer_loop import SCHEDULES
from spaces.algorithms import ALGORITHM_SPACES
from spaces.networks import NETWORK_SPACES
from spaces.parameter import values_of
from spaces.search_space import SPACES
from spaces.space import LEGAL, Kind, Space

KINDS: tuple[Kind, ...] = get_args(Kind)
OUTER = {"outer_lr", "outer_optimizer", "outer_schedule", "meta_batch_size", "clip_norm"}

spaces = pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)


def test_every_algorithm_and_network_has_a_space() -> None:
    assert list(ALGORITHM_SPACES) == list(ALGORITHMS)
    assert list(NETWORK_SPACES) == list(NETWORKS)
    assert not set(ALGORITHM_SPACES) & set(NETWORK_SPACES)


@spaces
@pytest.mark.parametrize("kind", KINDS)
def test_defaults_are_complete_and_inside_the_space(space: Space, kind: Kind) -> None:
    defaults = space.defaults[kind]
    assert set(defaults) == set(space.parameters)
    outside = {
        name: value
        for name, value in defaults.items()
        if not space.parameters[name].contains(value)
    }
    assert not outside


@spaces
def test_what_is_searched_is_legal(space: Space) -> None:
    for name, parameter in space.parameters.items():
        assert all(LEGAL[name].contains(value) for value in values_of(parameter)), name


@spaces
def test_transduction_is_never_searched(space: Space) -> None:
    assert "transductive" not in space.parameters


@pytest.mark.parametrize("name", ALGORITHM_SPACES)
def test_an_algorithm_has_the_hyperparameters_of_training(name: str) -> None:
    inner = {"inner_lr", "inner_steps", "inner_steps_evaluation"}
    if name == "pretrain":
        inner.remove("inner_steps")
    assert set(ALGORITHM_SPACES[name].parameters) == inner | OUTER


@pytest.mark.parametrize("name", NETWORK_SPACES)
def test_a_network_takes_exactly_these_settings(name: str) -> None:
    signature = inspect.signature(NETWORKS[name].make)
    keywords = {
        parameter.name
        for parameter in signature.parameters.values()
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY
    }
    assert set(NETWORK_SPACES[name].parameters) == keywords


@pytest.mark.parametrize("end", [0, -1])
@pytest.mark.parametrize("name", NETWORK_SPACES)
def test_a_network_can_be_built_at_the_ends_of_its_space(name: str, end: int) -> None:
    parameters = NETWORK_SPACES[name].parameters
    settings = {key: values_of(parameter)[end] for key, parameter in parameters.items()}
    assert build(name, (1, 28, 28), 5, settings).name == name


def test_legal_words_are_those_that_the_code_knows() -> None:
    assert set(values_of(LEGAL["activation"])) == set(ACTIVATIONS)
    assert set(values_of(LEGAL["normalization"])) == set(NORMALIZATIONS)
    assert set(values_of(LEGAL["outer_schedule"])) == set(SCHEDULES)

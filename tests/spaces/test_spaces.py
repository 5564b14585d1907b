"""The spaces of algorithms and networks agree with the code that they configure."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from typing import Any, get_args

import pytest
import torch

from algorithms import ALGORITHMS, Hyper
from algorithms.parts.noise import keys_of
from algorithms.recipe import CHOICES
from networks import NETWORKS, build
from networks.layers import ACTIVATIONS, NORMALIZATIONS
from search.outer_loop import SCHEDULES
from search.training import build as build_learner
from search.training import hyperparameters
from spaces.algorithms import ALGORITHM_SPACES
from spaces.networks import NETWORK_SPACES
from spaces.parameter import Parameter, values_of
from spaces.search_space import SPACES
from spaces.space import LEGAL, Kind, Space, bare
from tests.search.small_runs import PAIRS, distribution, small_config

KINDS: tuple[Kind, ...] = get_args(Kind)
OUTER = {
    "outer_lr",
    "outer_optimizer",
    "outer_schedule",
    "weight_decay",
    "meta_batch_size",
    "clip_norm",
}

spaces = pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)


def test_every_algorithm_and_network_has_a_space() -> None:
    assert list(ALGORITHM_SPACES) == list(ALGORITHMS)
    assert list(NETWORK_SPACES) == list(NETWORKS)
    assert not set(ALGORITHM_SPACES) & set(NETWORK_SPACES)


@pytest.mark.parametrize(
    ("owner", "kind"),
    [(owner, kind) for owner, space in SPACES.items() for kind in KINDS if kind in space.defaults],
)
def test_defaults_are_complete_and_inside_the_space(owner: str, kind: Kind) -> None:
    space = SPACES[owner]
    defaults = space.defaults[kind]
    assert set(defaults) == {bare(name) for name in space.parameters}
    outside = {
        name: value
        for name, value in defaults.items()
        if not any(allowed.contains(value) for allowed in variants(space, name))
    }
    assert not outside


def variants(space: Space, name: str) -> list[Parameter]:
    return [allowed for known, allowed in space.parameters.items() if bare(known) == name]


@pytest.mark.parametrize("name", ALGORITHMS)
def test_an_algorithm_is_for_the_kinds_that_its_entry_says(name: str) -> None:
    needing_a_network_of_their_own = {"segmentation", "translation"}
    without_classes = set() if ALGORITHMS[name].classes else {"regression"}
    kinds = set(ALGORITHM_SPACES[name].defaults) - needing_a_network_of_their_own
    assert kinds == {"classification"} | without_classes


@spaces
def test_what_is_searched_is_legal(space: Space) -> None:
    for name, parameter in space.parameters.items():
        assert all(LEGAL[bare(name)].contains(value) for value in values_of(parameter)), name


@spaces
def test_conditions_and_points_are_of_parameters_that_exist(space: Space) -> None:
    assert set(space.conditions) <= set(space.parameters)
    for point in space.points.values():
        for values in point.values():
            assert set(values) <= {bare(name) for name in space.parameters}


@spaces
def test_transduction_is_never_searched(space: Space) -> None:
    assert "transductive" not in space.parameters


class Noting(Mapping[str, Any]):
    """Hyperparameters that note which of them are read."""

    def __init__(self, values: Hyper):
        self.values_by_name = values
        self.read: set[str] = set()

    def __getitem__(self, name: str) -> Any:
        value = self.values_by_name[name]
        self.read.add(name)
        return value

    def __iter__(self) -> Iterator[str]:
        return iter(self.values_by_name)

    def __len__(self) -> int:
        return len(self.values_by_name)


@pytest.mark.parametrize(("name", "kind"), PAIRS)
def test_an_algorithm_has_the_hyperparameters_that_it_reads(name: str, kind: Kind) -> None:
    config = small_config(name, kind)
    algorithm, _ = build_learner(config, distribution(kind))
    progress = {"progress": torch.tensor(0.5)}
    hyper = Noting({**hyperparameters(config, torch.device("cpu")), **progress})
    meta, state = algorithm.init(hyper, torch.Generator().manual_seed(0))
    episodes = distribution(kind).sample("train", 0, range(2))
    algorithm.meta_gradients(meta, state, hyper, episodes, keys_of(0, episodes.index))
    algorithm.adapt(meta, state, hyper, episodes.support, 1, keys_of(0, episodes.index))
    evaluated = {"inner_steps_evaluation"} if algorithm.adapts else set()
    read = hyper.read - set(progress) | evaluated | OUTER | set(ALGORITHMS[name].choices)
    assert set(config.hyper) == read


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
    shape = (48,) if name == "transformer" else (1, 28, 28)
    assert build(name, shape, 5, settings).name == name


def test_legal_words_are_those_that_the_code_knows() -> None:
    assert set(values_of(LEGAL["activation"])) == set(ACTIVATIONS)
    assert set(values_of(LEGAL["normalization"])) == set(NORMALIZATIONS)
    assert set(values_of(LEGAL["outer_schedule"])) == set(SCHEDULES)
    for name, options in CHOICES.items():
        if name != "adapts":
            assert values_of(LEGAL[name]) == options, name
    assert all(LEGAL["adapts"].contains(option) for option in (*CHOICES["adapts"], "block1,head"))

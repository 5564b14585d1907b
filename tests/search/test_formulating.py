"""Searches and hand-written configurations choose in one way how a learner runs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import optuna
import pytest

from algorithms import engine
from algorithms.programs import Programs
from algorithms.replicas import direct
from search import extensions
from search.config import Config
from search.formulating import formulation_of, memory_for
from search.sampling import sampler_of
from search.spec import parse_spec
from search.training import meta_train
from tests.search.small_runs import distribution, small_config

OMNIGLOT = {"task": "omniglot", "ways": 3, "shots": 2, "query_shots": 2}
OFTEN = 100_000_000


def sampled(network: str, episodes: int = OFTEN, seeds: int = 1, **resources: Any) -> Config:
    """Return what a search suggests for classification of images."""
    spec = parse_spec(
        {
            "name": "mine",
            "problem": OMNIGLOT,
            "algorithms": ["maml"],
            "networks": [network],
            "seeds": seeds,
            "budget": {"trials": 2, "episodes": episodes},
            "resources": resources,
        }
    )
    config = small_config(kind="classification", network=network)
    sample = sampler_of(spec, config.problem, distribution("classification"))
    return sample(optuna.create_study().ask())


def chosen(config: Config) -> engine.Formulation:
    """Return what a hand-written configuration, which says nothing of it, runs in."""
    return formulation_of(replace(config, formulation={}), distribution("classification"))


def test_a_fully_connected_network_on_images_runs_as_one_on_vectors() -> None:
    dense, convolving = sampled("mlp"), sampled("conv4")
    assert len(distribution("classification").input_shape) == 3
    assert dense.formulation["chunk"] == engine.VECTORS
    assert dense.formulation["compiled"]
    assert convolving.formulation["chunk"] == engine.CONVOLUTIONS_ON_CPU
    assert not convolving.formulation["compiled"]


@pytest.mark.parametrize("resources", [{"cpu": 1}, {"cpu": 2}, {"cpu": 1, "gpu": 1}])
@pytest.mark.parametrize("network", ["mlp", "conv4", "vit"])
@pytest.mark.parametrize("episodes", [10, OFTEN])
def test_a_hand_written_configuration_chooses_as_a_search_does(
    network: str, episodes: int, resources: dict[str, Any]
) -> None:
    config = sampled(network, episodes, **resources)
    found = chosen(config)
    assert found.to_dict() == config.formulation
    assert found.compiled == (network == "mlp" and episodes == OFTEN and "gpu" not in resources)
    assert found.captured == ("gpu" in resources and episodes == OFTEN)
    if "gpu" in resources:
        assert (found.memory_mb, found.gpu_share) == (None, 0.5)
    else:
        assert found.memory_mb is not None


def test_several_seeds_are_compiled_where_one_is_not() -> None:
    config = sampled("mlp", seeds=8)
    assert (config.seeds, config.formulation) == (8, chosen(config).to_dict())
    few = replace(config, episodes=12_000 * int(config.hyper["meta_batch_size"]))
    assert chosen(few).compiled
    assert not chosen(replace(few, seeds=1)).compiled


def test_what_a_configuration_says_is_not_chosen_anew() -> None:
    said = engine.Formulation(5, memory_mb=7)
    config = small_config(formulation=said.to_dict())
    assert formulation_of(config, distribution("regression")) == said


def test_a_learner_of_ones_own_is_not_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    config = sampled("mlp")
    monkeypatch.setattr(extensions, "_added", {("network", "mlp")})
    assert not chosen(config).compiled


def test_a_hand_written_configuration_compiles_where_that_is_repaid(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ran: list[object] = []

    def run(_: Programs, *arguments: Any) -> object:
        ran.append(arguments)
        return direct(*arguments)

    monkeypatch.setattr(engine, "COMPILE_SECONDS", 0.0)
    monkeypatch.setattr(engine, "can_compile", lambda: True)
    monkeypatch.setattr(Programs, "run", run)
    last = list(meta_train(small_config(), distribution("regression")))[-1]
    assert ran
    found = last.snapshot.state["formulation"]
    assert found["compiled"]
    assert found["memory_mb"] == memory_for(1, 0)[0]

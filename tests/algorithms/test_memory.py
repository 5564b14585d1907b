"""What a meta-gradient holds, and chunks that fit."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from algorithms import Algorithm, Hyper, engine, make
from algorithms.engine import Formulation
from algorithms.memory import bytes_held
from algorithms.parts.queries import queries_at_once
from episodes.episode import Episodes
from networks import Params
from tests.algorithms.cases import MASK_SETTINGS, SETTINGS, Setting, values_for
from tests.algorithms.learners import ALL, learner
from tests.algorithms.problems import (
    classification_objective,
    hyperparameters,
    image_episodes,
    keys_of,
    relative_error,
    small_conv4,
)


def held(name: str, on: Setting, episodes: Episodes, steps: int = 3) -> int:
    hyper = hyperparameters(inner_steps=steps)
    algorithm = make(name, on.network, on.objective, {})
    meta, state = values_for(algorithm, hyper)
    return bytes_held(algorithm, meta, state, hyper, episodes, keys_of(episodes))


def test_what_is_held_grows_with_the_episodes() -> None:
    on = SETTINGS["pool-batch"]()
    one, three = held("maml", on, on.episodes[:1]), held("maml", on, on.episodes[:3])
    assert 2.5 < three / one <= 3


def test_second_order_holds_every_step_and_first_order_one() -> None:
    on = SETTINGS["pool-none"]()
    few, many = (held("maml", on, on.episodes, steps) for steps in (1, 6))
    assert many > 2 * few
    few, many = (held("fomaml", on, on.episodes, steps) for steps in (1, 6))
    assert many < 1.5 * few


def test_nothing_is_held_afterwards() -> None:
    on, hyper = SETTINGS["pool-batch"](), hyperparameters()
    algorithm = make("maml", on.network, on.objective, {})
    meta, state = values_for(algorithm, hyper)
    keys = keys_of(on.episodes)
    first = bytes_held(algorithm, meta, state, hyper, on.episodes, keys)
    assert first == bytes_held(algorithm, meta, state, hyper, on.episodes, keys)


@pytest.mark.parametrize("name", ["maml", "pretrain"])
@pytest.mark.parametrize("setting", ["pool-batch", "pool-layer", "mlp", "masks-batch"])
@pytest.mark.parametrize(("memory_mb", "chunk"), [(0, 1), (10_000, 100), (None, 100)])
def test_a_chunk_is_cut_to_what_fits(
    memory_mb: int | None, chunk: int, setting: str, name: str
) -> None:
    on, hyper = (SETTINGS | MASK_SETTINGS)[setting](), hyperparameters()
    algorithm = make(name, on.network, on.objective, {})
    meta, state = values_for(algorithm, hyper)
    keys = keys_of(on.episodes)
    wanted = Formulation(100, memory_mb=memory_mb)
    fitted = engine.fitted(wanted, algorithm, meta, state, hyper, on.episodes[:1], keys[:1])
    assert fitted.chunk == chunk
    found, whole = (
        engine.meta_gradients(algorithm, each, meta, state, hyper, on.episodes, keys)
        for each in (fitted, wanted)
    )
    assert relative_error(found[0], whole[0]) < 1e-12
    assert found[1].keys() == whole[1].keys()
    assert not whole[1] or relative_error(found[1], whole[1]) < 1e-12


def test_a_chunk_is_cut_to_a_share_of_the_gpu_that_a_trial_gets(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    on, hyper = SETTINGS["pool-batch"](), hyperparameters()
    algorithm = make("maml", on.network, on.objective, {})
    meta, state = values_for(algorithm, hyper)
    keys = keys_of(on.episodes)
    one = (algorithm, meta, state, hyper, on.episodes[:1], keys[:1])
    held = bytes_held(*one) / 1e6
    monkeypatch.setattr(engine, "device_megabytes", lambda device: 1000.0)
    share = 3.5 * held / 1000
    fitted = engine.fitted(Formulation(100, gpu_share=max(share, 0.001)), *one)
    assert fitted.memory_mb == max(1, int(1000 * max(share, 0.001)))
    assert fitted.chunk == min(100, int(fitted.memory_mb // held))
    several = engine.fitted(Formulation(100, together=50, memory_mb=1), *one)
    assert several.together == min(50, several.chunk)
    monkeypatch.setattr(engine, "device_megabytes", lambda device: None)
    wanted = Formulation(100, gpu_share=0.5)
    assert engine.fitted(wanted, *one) == wanted


@pytest.mark.parametrize("named", ALL, ids=" ".join)
def test_a_batch_of_any_size_fits_whatever_the_algorithm(named: tuple[str, str]) -> None:
    assert learner(*named).algorithm.separable


def many_queries(name: str) -> tuple[Algorithm, Params, Params, Hyper, Episodes, Tensor]:
    """Return a learner on an image problem whose query sets are five times its support sets."""
    hyper = hyperparameters(inner_steps=2)
    algorithm = make(name, small_conv4(), classification_objective(True), {})
    episodes = image_episodes(9, shots=1, query_shots=5)
    return algorithm, *values_for(algorithm, hyper), hyper, episodes, keys_of(episodes)


@pytest.mark.parametrize("name", ["maml", "fomaml", "mamlpp", "anil", "alfa", "mt-net"])
@pytest.mark.parametrize("room", [4.0, 6.0])
def test_query_sets_that_pass_one_by_one_leave_room_for_more_episodes(
    name: str, room: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    *values, episodes, keys = many_queries(name)
    one = (*values, episodes[:1], keys[:1])
    held = bytes_held(*one)
    monkeypatch.setattr(engine, "MEGABYTES_AT_ONCE", held / 1e6)
    monkeypatch.setattr(engine, "MEGABYTES_ON_CPU", room * held / 1e6)
    monkeypatch.setattr(engine, "SUPPORT_SETS_AT_ONCE", 9)
    found = engine.fitted(Formulation(9, memory_mb=10_000, queries=1), *one)
    assert room < found.chunk <= 9
    assert found.queries is not None
    chunk = (*values, episodes[: found.chunk], keys[: found.chunk])
    assert bytes_held(*chunk) > room * held
    with queries_at_once(found.queries):
        assert bytes_held(*chunk) <= room * held
    few, whole = (
        engine.meta_gradients(values[0], each, *values[1:], episodes, keys)
        for each in (found, Formulation(9))
    )
    assert relative_error(few[0], whole[0]) < 1e-12
    assert relative_error(few[2], whole[2]) < 1e-12


@pytest.mark.parametrize("name", ["reptile", "imaml", "prototypical", "pretrain"])
def test_query_sets_pass_with_their_support_sets_where_nothing_else_is_known(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    *values, episodes, keys = many_queries(name)
    held = bytes_held(*values, episodes[:1], keys[:1]) / 1e6
    monkeypatch.setattr(engine, "MEGABYTES_AT_ONCE", 2.5 * held)
    monkeypatch.setattr(engine, "MEGABYTES_ON_CPU", 10 * held)
    wanted = Formulation(8, memory_mb=10_000, queries=1)
    found = engine.fitted(wanted, *values, episodes[:1], keys[:1])
    assert found == replace(wanted, chunk=2, queries=None)


def test_what_fits_at_once_passes_at_once() -> None:
    *values, episodes, keys = many_queries("maml")
    wanted = engine.choose((1, 28, 28), torch.device("cpu"))
    found = engine.fitted(wanted, *values, episodes[:1], keys[:1])
    assert found == replace(wanted, queries=None)


def test_what_cannot_be_cut_is_left_whole() -> None:
    """As an algorithm of a user's own may be."""
    on, hyper = SETTINGS["pool-batch"](), hyperparameters()
    algorithm = replace(make("maml", on.network, on.objective, {}), separable=False)
    meta, state = algorithm.init(hyper, torch.Generator())
    keys = keys_of(on.episodes)
    wanted = Formulation(100, memory_mb=0)
    assert engine.fitted(wanted, algorithm, meta, state, hyper, on.episodes[:1], keys[:1]) == wanted

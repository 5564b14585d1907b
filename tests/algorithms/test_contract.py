"""What every registered algorithm must do: one suite over all of them.

A new algorithm needs no test here, only its entry in the registry.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from algorithms import ALGORITHMS, Adapted, Algorithm, Hyper, Objective
from algorithms.algorithm import Diagnostics
from algorithms.engine import Formulation
from algorithms.engine import meta_gradients as in_chunks
from episodes.episode import Episodes, Examples
from networks import Network, Params
from networks.layers import NORMALIZATIONS
from tests.algorithms.problems import (
    classification_objective,
    double,
    image_episodes,
    regression_episodes,
    regression_objective,
    relative_error,
    small_conv4,
    small_mlp,
    vector,
)

EPISODES = 4
KINDS = ("regression", "classification")


@dataclass(frozen=True)
class Learner:
    """An initialized algorithm in float64, with episodes to learn from."""

    algorithm: Algorithm
    objective: Objective
    episodes: Episodes
    hyper: Hyper
    meta: Params
    state: Params

    def adapt(self, steps: int, start: Adapted | None = None, **changes: object) -> Adapted:
        learner = replace(self, **changes)
        return learner.algorithm.adapt(
            learner.meta,
            learner.state,
            learner.hyper,
            learner.episodes.support,
            steps,
            generator(),
            start,
        )

    def predict(self, adapted: Adapted, inputs: Tensor) -> Tensor:
        return self.algorithm.predict(self.meta, self.state, adapted, inputs)

    def query_outputs(self, steps: int) -> Tensor:
        return self.predict(self.adapt(steps), self.episodes.query.inputs)

    def loss_on(self, examples: Examples, adapted: Adapted) -> Tensor:
        outputs = self.predict(adapted, examples.inputs)
        return self.objective.loss.per_episode(outputs, examples.targets)

    def gradients(self, **changes: object) -> tuple[Params, Params, Diagnostics]:
        learner = replace(self, **changes)
        return learner.algorithm.meta_gradients(
            learner.meta, learner.state, learner.hyper, learner.episodes, generator()
        )


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def hyperparameters(inner_lr: float = 0.05) -> Hyper:
    return {"inner_lr": torch.tensor(inner_lr, dtype=torch.float64), "inner_steps": 2}


def learner(
    name: str, kind: str, transductive: bool = False, network: Network | None = None
) -> Learner:
    if kind == "regression":
        network, objective = network or small_mlp(), regression_objective(transductive)
        episodes = regression_episodes(EPISODES)
    else:
        network, objective = network or small_conv4(), classification_objective(transductive)
        episodes = image_episodes(EPISODES)
    algorithm = ALGORITHMS[name].make(network, objective)
    hyper = hyperparameters()
    meta, state = algorithm.init(hyper, generator())
    return Learner(algorithm, objective, episodes, hyper, double(meta), double(state))


@pytest.fixture(params=[False, True], ids=["inductive", "transductive"])
def transductive(request: pytest.FixtureRequest) -> bool:
    return request.param


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(params=ALGORITHMS)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def any_learner(name: str, kind: str, transductive: bool) -> Learner:
    return learner(name, kind, transductive)


def close(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-11)


def all_close(found: Params, expected: Params) -> None:
    assert found.keys() == expected.keys()
    for name, value in found.items():
        close(value, expected[name])


def test_it_is_called_what_it_is_registered_as(any_learner: Learner, name: str) -> None:
    assert any_learner.algorithm.name == name
    assert ALGORITHMS[name].summary


def test_init_depends_on_the_seed_alone(any_learner: Learner) -> None:
    init, hyper = any_learner.algorithm.init, any_learner.hyper
    first, again, other = (init(hyper, torch.Generator().manual_seed(s)) for s in (1, 1, 2))
    for ours, theirs in zip(first, again, strict=True):
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[key], theirs[key]) for key in ours)
    assert not torch.equal(vector(first[0]), vector(other[0]))


def test_meta_gradients_mirror_meta(any_learner: Learner) -> None:
    gradients, state, _ = any_learner.gradients()
    for found, like in ((gradients, any_learner.meta), (state, any_learner.state)):
        assert {k: v.shape for k, v in found.items()} == {k: v.shape for k, v in like.items()}
        assert all(value.isfinite().all() and not value.requires_grad for value in found.values())
    assert vector(gradients).norm() > 0


def test_diagnostics_hold_a_value_per_episode(any_learner: Learner, kind: str) -> None:
    _, _, diagnostics = any_learner.gradients()
    expected = {"query_loss"} | ({"query_accuracy"} if kind == "classification" else set())
    assert diagnostics.keys() == expected
    for value in diagnostics.values():
        assert value.shape == (EPISODES,)
        assert value.isfinite().all()
        assert not value.requires_grad
    if kind == "classification":
        assert ((diagnostics["query_accuracy"] >= 0) & (diagnostics["query_accuracy"] <= 1)).all()


def test_nothing_is_changed_in_place(any_learner: Learner) -> None:
    before = [{k: v.clone() for k, v in d.items()} for d in (any_learner.meta, any_learner.state)]
    any_learner.gradients()
    adapted = any_learner.adapt(2)
    values = {key: value.clone() for key, value in adapted.params.items()}
    any_learner.adapt(2, start=adapted)
    all_close(any_learner.meta, before[0])
    all_close(any_learner.state, before[1])
    all_close(adapted.params, values)
    assert not any(value.requires_grad for value in any_learner.meta.values())


def test_no_steps_change_nothing(any_learner: Learner, name: str, kind: str) -> None:
    adapted = any_learner.adapt(0)
    new_head = name == "pretrain" and kind == "classification"
    for key, value in adapted.params.items():
        if new_head and key.startswith("head."):
            assert not value.any()
        else:
            close(value, any_learner.meta[key].expand_as(value))


def test_adapting_in_two_goes_is_adapting_in_one(any_learner: Learner) -> None:
    with torch.no_grad():
        at_once, first = any_learner.adapt(5), any_learner.adapt(2)
        then = any_learner.adapt(3, start=first)
        all_close(then.params, at_once.params)
        query = any_learner.episodes.query.inputs
        close(any_learner.predict(then, query), any_learner.predict(at_once, query))


def test_adaptation_is_the_same_with_and_without_a_graph(any_learner: Learner) -> None:
    with torch.no_grad():
        without = any_learner.adapt(3)
    leaves = {key: value.clone().requires_grad_() for key, value in any_learner.meta.items()}
    with_graph = any_learner.adapt(3, meta=leaves)
    all_close(with_graph.params, without.params)
    query = any_learner.episodes.query.inputs
    close(any_learner.predict(with_graph, query), any_learner.predict(without, query))


def test_more_steps_lower_the_support_loss(any_learner: Learner) -> None:
    learner = replace(any_learner, hyper=hyperparameters(0.01))
    # Meta-SGD takes its rates from `meta`, so that they start there.
    meta, _ = learner.algorithm.init(learner.hyper, generator())
    learner = replace(learner, meta=double(meta))
    support = learner.episodes.support
    with torch.no_grad():
        losses = [learner.loss_on(support, learner.adapt(steps)) for steps in (0, 1, 3, 8)]
    assert (torch.stack(losses).diff(dim=0) < 0).all()


def disturbed(inputs: Tensor) -> Tensor:
    """Replace all queries of an episode but the first."""
    noise = 3 * torch.randn(inputs.shape, generator=generator(), dtype=inputs.dtype) + 1
    return torch.cat([inputs[:, :1], noise[:, 1:]], 1)


def first_output_moves_by(learner: Learner) -> float:
    """How much the first query's outputs depend on the other queries."""
    query = learner.episodes.query.inputs
    with torch.no_grad():
        adapted = learner.adapt(2)
        before, after = learner.predict(adapted, query), learner.predict(adapted, disturbed(query))
    return float((before - after)[:, 0].abs().max())


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
def test_a_prediction_does_not_depend_on_other_queries(name: str, normalization: str) -> None:
    network = small_conv4(normalization=normalization)
    assert first_output_moves_by(learner(name, "classification", network=network)) < 1e-12


def test_a_transductive_prediction_does(name: str) -> None:
    assert first_output_moves_by(learner(name, "classification", transductive=True)) > 1e-3


@settings(max_examples=5, deadline=None, derandomize=True)
@given(order=st.permutations(range(EPISODES)))
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ALGORITHMS)
def test_the_order_of_episodes_does_not_matter(name: str, kind: str, order: list[int]) -> None:
    plain = learner(name, kind)
    parts = [plain.episodes[i : i + 1] for i in order]
    shuffled = Episodes(
        _joined([part.support for part in parts]),
        _joined([part.query for part in parts]),
        torch.cat([part.classes for part in parts]),
        torch.cat([part.index for part in parts]),
    )
    gradients, state, diagnostics = plain.gradients()
    found, found_state, found_diagnostics = plain.gradients(episodes=shuffled)
    assert relative_error(found, gradients) < 1e-12
    all_close(found_state, state)
    all_close(found_diagnostics, {key: value[order] for key, value in diagnostics.items()})
    close(replace(plain, episodes=shuffled).query_outputs(2), plain.query_outputs(2)[order])


def _joined(parts: list[Examples]) -> Examples:
    return Examples(torch.cat([p.inputs for p in parts]), torch.cat([p.targets for p in parts]))


@pytest.mark.parametrize("chunk", [1, 3])
def test_chunks_make_no_difference(any_learner: Learner, chunk: int) -> None:
    whole = any_learner.gradients()
    algorithm, hyper = any_learner.algorithm, any_learner.hyper
    parts = in_chunks(
        algorithm,
        Formulation(chunk),
        any_learner.meta,
        any_learner.state,
        hyper,
        any_learner.episodes,
        generator(),
    )
    for found, expected in zip(parts, whole, strict=True):
        all_close(found, expected)


def test_single_precision_is_near_double(any_learner: Learner) -> None:
    single = {
        "meta": {key: value.float() for key, value in any_learner.meta.items()},
        "state": {key: value.float() for key, value in any_learner.state.items()},
        "hyper": any_learner.hyper | {"inner_lr": torch.tensor(0.05)},
        "episodes": any_learner.episodes.to("cpu", torch.float32),
    }
    found, _, diagnostics = any_learner.gradients(**single)
    assert {value.dtype for value in (*found.values(), *diagnostics.values())} == {torch.float32}
    assert relative_error(double(found), any_learner.gradients()[0]) < 1e-4


def test_the_inner_rate_is_an_input_of_the_program(any_learner: Learner) -> None:
    """A rate that were turned into a constant on the way would have no derivative."""

    def total(rate: Tensor) -> Tensor:
        hyper = any_learner.hyper | {"inner_lr": rate}
        meta = any_learner.algorithm.init(hyper, generator())[0]
        changed = replace(any_learner, hyper=hyper, meta=double(meta))
        return changed.query_outputs(1).square().sum()

    rate = torch.tensor(0.05, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(total(rate), rate)
    low, high = (total(rate.detach() + shift) for shift in (-1e-6, 1e-6))
    assert slope != 0
    torch.testing.assert_close(slope, (high - low) / 2e-6, rtol=1e-4, atol=1e-6)


def test_outer_steps_lower_the_query_loss(any_learner: Learner) -> None:
    learner = any_learner
    optimizer = torch.optim.Adam(learner.meta.values(), lr=0.01)
    query = learner.episodes.query
    before = learner.loss_on(query, learner.adapt(2)).mean()
    for _ in range(30):
        gradients, state, _ = learner.gradients()
        for key, value in learner.meta.items():
            value.grad = gradients[key]
        optimizer.step()
        learner = replace(learner, state=state)
    after = learner.loss_on(query, learner.adapt(2)).mean()
    assert after < 0.9 * before

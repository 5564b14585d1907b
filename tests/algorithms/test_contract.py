"""What every registered algorithm must do: one suite over all of them.

A new algorithm needs no test here, only its entry in the registry.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from algorithms import ALGORITHMS, Hyper
from algorithms.compose import compose
from algorithms.engine import Formulation
from algorithms.engine import meta_gradients as in_chunks
from algorithms.recipe import CHOICES, Recipe
from episodes.episode import joined
from networks import Params
from networks.layers import NORMALIZATIONS
from tests.algorithms.learners import (
    ADAPTING,
    ALL,
    CLASSIFYING,
    EPISODES,
    Learner,
    all_close,
    close,
    learner,
    learning,
)
from tests.algorithms.problems import (
    double,
    generator,
    hyperparameters,
    keys_of,
    relative_error,
    small_conv4,
    vector,
)

SOME = settings(max_examples=4, deadline=None, derandomize=True)


@pytest.fixture(params=[False, True], ids=["inductive", "transductive"])
def transductive(request: pytest.FixtureRequest) -> bool:
    return request.param


@pytest.fixture(params=ALL, ids=" ".join)
def named(request: pytest.FixtureRequest) -> tuple[str, str]:
    return request.param


@pytest.fixture
def any_learner(named: tuple[str, str], transductive: bool) -> Learner:
    return learner(*named, transductive)


@pytest.fixture(params=ADAPTING, ids=" ".join)
def adapting(request: pytest.FixtureRequest, transductive: bool) -> Learner:
    return learner(*request.param, transductive)


def test_it_is_called_what_it_is_registered_as(named: tuple[str, str]) -> None:
    assert learner(*named).algorithm.name == named[0]
    assert ALGORITHMS[named[0]].summary


def test_init_depends_on_the_seed_alone(any_learner: Learner) -> None:
    init, hyper = any_learner.algorithm.init, any_learner.hyper
    first, again, other = (init(hyper, generator(s)) for s in (1, 1, 2))
    for ours, theirs in zip(first, again, strict=True):
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[key], theirs[key]) for key in ours)
    assert not torch.equal(vector(first[0]), vector(other[0]))


def test_init_gives_what_training_at_single_precision_needs(any_learner: Learner) -> None:
    hyper = hyperparameters(dtype=torch.float32)
    for values in any_learner.algorithm.init(hyper, generator()):
        assert {value.dtype for value in values.values()} <= {torch.float32}
        assert not any(value.requires_grad for value in values.values())
        addresses = [value.data_ptr() for value in values.values()]
        assert len(set(addresses)) == len(addresses)


def test_meta_gradients_mirror_meta(any_learner: Learner) -> None:
    gradients, state, _ = any_learner.gradients()
    for found, like in ((gradients, any_learner.meta), (state, any_learner.state)):
        assert {k: v.shape for k, v in found.items()} == {k: v.shape for k, v in like.items()}
        assert all(value.isfinite().all() and not value.requires_grad for value in found.values())
    learns = any_learner.algorithm.name != "scratch"
    assert bool(vector(gradients).norm() > 0) == learns


def test_diagnostics_hold_a_value_per_episode(any_learner: Learner) -> None:
    _, _, diagnostics = any_learner.gradients()
    classes = any_learner.objective.ways is not None
    assert diagnostics.keys() == {"query_loss"} | ({"query_accuracy"} if classes else set())
    for value in diagnostics.values():
        assert value.shape == (EPISODES,)
        assert value.isfinite().all()
        assert not value.requires_grad
    if classes:
        assert ((diagnostics["query_accuracy"] >= 0) & (diagnostics["query_accuracy"] <= 1)).all()


@pytest.mark.parametrize("named", [pair for pair in ALL if pair[0] not in ("reptile", "pretrain")])
def test_the_query_loss_in_diagnostics_is_that_after_adaptation(named: tuple[str, str]) -> None:
    """Reptile trains on queries too, and pretraining does not adapt."""
    plain = learner(*named)
    expected = plain.loss_on(plain.episodes.query, plain.adapt(2))
    close(plain.gradients()[2]["query_loss"], expected)


def test_nothing_is_changed_in_place(any_learner: Learner) -> None:
    before = [{k: v.clone() for k, v in d.items()} for d in (any_learner.meta, any_learner.state)]
    any_learner.gradients()
    adapted = any_learner.adapt(2)
    values = {key: value.clone() for key, value in adapted.params.items()}
    if any_learner.algorithm.adapts:
        any_learner.adapt(2, start=adapted)
    all_close(any_learner.meta, before[0])
    all_close(any_learner.state, before[1])
    all_close(adapted.params, values)
    assert not any(value.requires_grad for value in any_learner.meta.values())


def test_no_steps_change_nothing(adapting: Learner) -> None:
    adapted = adapting.adapt(0)
    new_head = adapting.algorithm.name == "pretrain" and adapting.objective.ways is not None
    for key, value in adapted.params.items():
        if new_head and key.startswith("head."):
            assert not value.any()
        elif key in adapting.meta:
            close(value, adapting.meta[key].expand_as(value))


@pytest.mark.parametrize("named", [pair for pair in ALL if pair not in ADAPTING], ids=" ".join)
def test_without_an_inner_loop_steps_are_ignored(named: tuple[str, str]) -> None:
    plain = learner(*named)
    assert not plain.algorithm.adapts
    assert torch.equal(plain.query_outputs(0), plain.query_outputs(7))


def two_goes(plain: Learner) -> None:
    with torch.no_grad():
        at_once, first = plain.adapt(5), plain.adapt(2)
        then = plain.adapt(3, start=first)
        all_close(then.params, at_once.params)
        query = plain.episodes.query.inputs
        close(plain.predict(then, query), plain.predict(at_once, query))


def test_adapting_in_two_goes_is_adapting_in_one(adapting: Learner) -> None:
    two_goes(adapting)


@pytest.mark.parametrize("head", ["learned", "zeroed"])
@pytest.mark.parametrize("adapts", ["all", "subspace"])
@pytest.mark.parametrize("optimizer", CHOICES["inner_optimizer"])
def test_so_it_is_with_every_optimizer(optimizer: str, adapts: str, head: str) -> None:
    recipe = Recipe(adapts=adapts, inner_optimizer=optimizer, head=head, proximal=True)
    plain = learner("maml", "regression")
    two_goes(learning(compose("parts", plain.network, plain.objective, recipe), plain))


def test_adaptation_is_the_same_with_and_without_a_graph(adapting: Learner) -> None:
    with torch.no_grad():
        without = adapting.adapt(3)
    leaves = {key: value.clone().requires_grad_() for key, value in adapting.meta.items()}
    with_graph = adapting.adapt(3, meta=leaves)
    all_close(with_graph.params, without.params)
    query = adapting.episodes.query.inputs
    close(adapting.predict(with_graph, query), adapting.predict(without, query))


@pytest.mark.parametrize("named", [p for p in ADAPTING if p[0] != "alfa"], ids=" ".join)
def test_more_steps_lower_the_support_loss(named: tuple[str, str], transductive: bool) -> None:
    """ALFA's rates, of a random network at first, may have any sign."""
    plain = learner(*named, transductive, hyper=hyperparameters(0.01))
    for _ in range(2):  # so that running statistics, where there are any, are those of the data
        plain = replace(plain, state=plain.gradients()[1])
    support = plain.episodes.support
    with torch.no_grad():
        losses = [plain.loss_on(support, plain.adapt(steps)) for steps in (0, 1, 3, 8)]
    assert (torch.stack(losses).diff(dim=0) < 0).all()


def disturbed(inputs: Tensor) -> Tensor:
    """Replace all queries of an episode but the first."""
    noise = 3 * torch.randn(inputs.shape, generator=generator(), dtype=inputs.dtype) + 1
    return torch.cat([inputs[:, :1], noise[:, 1:]], 1)


def first_output_moves_by(plain: Learner) -> float:
    """How much the first query's outputs depend on the other queries."""
    query = plain.episodes.query.inputs
    with torch.no_grad():
        adapted = plain.adapt(2)
        before, after = plain.predict(adapted, query), plain.predict(adapted, disturbed(query))
    return float((before - after)[:, 0].abs().max())


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
@pytest.mark.parametrize("name", CLASSIFYING)
def test_a_prediction_does_not_depend_on_other_queries(name: str, normalization: str) -> None:
    network = small_conv4(normalization=normalization)
    plain = learner(name, "classification", network=network)
    assert first_output_moves_by(plain) < 1e-12
    trained = replace(plain, state=plain.gradients()[1])
    assert first_output_moves_by(trained) < 1e-12


@pytest.mark.parametrize("name", CLASSIFYING)
def test_a_transductive_prediction_does(name: str) -> None:
    assert first_output_moves_by(learner(name, "classification", transductive=True)) > 1e-3


@SOME
@given(order=st.permutations(range(EPISODES)))
@pytest.mark.parametrize("named", ALL, ids=" ".join)
def test_the_order_of_episodes_does_not_matter(named: tuple[str, str], order: list[int]) -> None:
    plain = learner(*named)
    shuffled = joined([plain.episodes[i : i + 1] for i in order])
    gradients, state, diagnostics = plain.gradients()
    found, found_state, found_diagnostics = plain.gradients(episodes=shuffled)
    assert relative_error(found, gradients) < 1e-12
    all_close(found_state, state)
    all_close(found_diagnostics, {key: value[order] for key, value in diagnostics.items()})
    close(replace(plain, episodes=shuffled).query_outputs(2), plain.query_outputs(2)[order])


def test_the_order_of_names_does_not_matter(any_learner: Learner) -> None:
    """A checkpoint may hand dictionaries back in another order."""
    turned = replace(any_learner, meta=turn(any_learner.meta), state=turn(any_learner.state))
    for found, expected in zip(turned.gradients(), any_learner.gradients(), strict=True):
        all_close(found, expected)
    close(turned.query_outputs(3), any_learner.query_outputs(3))


def turn(params: Params) -> Params:
    return dict(reversed(params.items()))


@SOME
@given(
    chunk=st.integers(1, EPISODES + 1),
    queries=st.none() | st.integers(1, EPISODES),
    data=st.data(),
)
@pytest.mark.parametrize("named", ALL, ids=" ".join)
def test_chunks_make_no_difference(
    named: tuple[str, str], chunk: int, queries: int | None, data: st.DataObject
) -> None:
    plain = learner(*named, transductive=data.draw(st.booleans()))
    plain = replace(plain, state=plain.gradients()[1])
    episodes = plain.episodes
    parts = in_chunks(
        plain.algorithm,
        Formulation(chunk, queries=queries),
        plain.meta,
        plain.state,
        plain.hyper,
        episodes,
        keys_of(episodes),
    )
    for found, expected in zip(parts, plain.gradients(), strict=True):
        all_close(found, expected)


def single(hyper: Hyper) -> Hyper:
    return {k: v.float() if isinstance(v, Tensor) else v for k, v in hyper.items()}


@SOME
@given(inner_lr=st.floats(0.01, 0.1), progress=st.floats(0.0, 1.0))
@pytest.mark.parametrize("named", ALL, ids=" ".join)
def test_single_precision_is_near_double(
    named: tuple[str, str], inner_lr: float, progress: float
) -> None:
    plain = learner(*named, hyper=hyperparameters(inner_lr, progress=progress))
    plain = replace(plain, state=plain.gradients()[1])
    near = {
        "meta": {key: value.float() for key, value in plain.meta.items()},
        "state": {key: value.float() for key, value in plain.state.items()},
        "hyper": single(plain.hyper),
        "episodes": plain.episodes.to("cpu", torch.float32),
    }
    found, state, diagnostics = plain.gradients(**near)
    values = (*found.values(), *state.values(), *diagnostics.values())
    assert {value.dtype for value in values} == {torch.float32}
    assert relative_error(double(found), plain.gradients()[0]) < 1e-4


def test_the_inner_rate_is_an_input_of_the_program(adapting: Learner) -> None:
    """A rate that were turned into a constant on the way would have no derivative."""

    def total(rate: Tensor) -> Tensor:
        hyper = adapting.hyper | {"inner_lr": rate}
        meta = adapting.algorithm.init(hyper, generator())[0]
        changed = replace(adapting, hyper=hyper, meta=double(meta))
        return changed.query_outputs(1).square().sum()

    rate = torch.tensor(0.05, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(total(rate), rate)
    low, high = (total(rate.detach() + shift) for shift in (-1e-6, 1e-6))
    assert slope != 0
    torch.testing.assert_close(slope, (high - low) / 2e-6, rtol=1e-4, atol=1e-6)


def test_outer_steps_lower_the_query_loss(any_learner: Learner) -> None:
    plain = any_learner
    optimizer = torch.optim.Adam(plain.meta.values(), lr=0.01)
    query = plain.episodes.query
    before = plain.loss_on(query, plain.adapt(2)).mean()
    for _ in range(30):
        gradients, state, _ = plain.gradients()
        for key, value in plain.meta.items():
            value.grad = gradients[key]
        optimizer.step()
        plain = replace(plain, state=state)
    after = plain.loss_on(query, plain.adapt(2)).mean()
    if plain.algorithm.name == "scratch":
        assert after == before
    else:
        assert after < 0.9 * before

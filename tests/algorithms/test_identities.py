"""Algorithms that become one another where what tells them apart is switched off."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from algorithms import ALGORITHMS, Hyper
from algorithms.algorithm import Diagnostics
from networks import Params
from tests.algorithms.learners import Learner, all_close, close, learner
from tests.algorithms.problems import hyperparameters, relative_error, scrambled

KINDS = pytest.mark.parametrize("kind", ["regression", "classification"])
HYPER = hyperparameters(0.1, inner_steps=3)


def weights_of(plain: Learner) -> Params:
    return scrambled(plain.network.init(torch.Generator().manual_seed(1)))


def gradients(
    name: str, kind: str, extra: Params | None = None, hyper: Hyper = HYPER
) -> tuple[Params, Params, Diagnostics]:
    """Return meta-gradients at common weights; `extra` replaces other meta-parameters."""
    plain = learner(name, kind, hyper=hyper)
    weights = weights_of(plain)
    meta = {key: weights.get(key, value) for key, value in plain.meta.items()}
    meta |= {key: value for key, value in (extra or {}).items() if key in meta}
    return replace(plain, meta=meta).gradients()


def assert_weights_agree(found: Params, expected: Params) -> None:
    """Compare the gradients of what both have."""
    common = found.keys() & expected.keys()
    assert common
    same = {key: expected[key] for key in common}
    assert relative_error({key: found[key] for key in common}, same) <= 1e-10


def query_gradient(kind: str) -> Params:
    """Return the gradient of the query loss of networks that did not adapt."""
    plain = learner("maml", kind)
    network, episodes = plain.network, plain.episodes
    weights = {key: value.requires_grad_() for key, value in weights_of(plain).items()}
    _, statistics = network.features(weights, episodes.support.inputs, collect=True)
    outputs = network(weights, episodes.query.inputs, statistics or None)
    loss = plain.objective.loss.per_episode(outputs, episodes.query.targets).mean()
    return dict(zip(weights, torch.autograd.grad(loss, list(weights.values())), strict=True))


THROUGH_QUERIES = [
    name
    for name, entry in ALGORITHMS.items()
    if not entry.classes and name not in ("reptile", "imaml", "pretrain", "scratch")
]
STILL = hyperparameters(0.0, inner_steps=3)


@pytest.mark.parametrize("name", THROUGH_QUERIES)
def test_without_a_rate_meta_gradients_are_those_of_the_query_loss(name: str) -> None:
    assert_weights_agree(
        gradients(name, "regression", hyper=STILL)[0], query_gradient("regression")
    )


@pytest.mark.parametrize("name", [name for name in THROUGH_QUERIES if name != "mamlpp"])
def test_so_they_are_with_batch_normalization(name: str) -> None:
    """But for MAML++, whose queries use other statistics."""
    found = gradients(name, "classification", hyper=STILL)[0]
    assert_weights_agree(found, query_gradient("classification"))


@KINDS
def test_without_a_rate_reptile_stands_still(kind: str) -> None:
    found = gradients("reptile", kind, hyper=STILL)[0]
    assert not any(value.any() for value in found.values())


def test_without_a_rate_proto_maml_is_a_prototypical_network() -> None:
    """Logits differ by the square of a query's features, which is the same for all classes."""
    found = gradients("proto-maml", "classification", hyper=STILL)
    expected = gradients("prototypical", "classification")
    assert relative_error(found[0], expected[0]) <= 1e-10
    all_close(found[2], expected[2])


@KINDS
@pytest.mark.parametrize(("name", "moves"), [("anil", True), ("boil", False)])
def test_anil_and_boil_are_meta_sgd_where_some_rates_are_zero(
    name: str, moves: bool, kind: str
) -> None:
    plain = learner(name, kind)
    rates = {
        f"rate/{key}": torch.full_like(value, 0.1 * ((key in plain.network.head_names) == moves))
        for key, value in weights_of(plain).items()
    }
    found, expected = gradients(name, kind)[0], gradients("meta-sgd", kind, rates)[0]
    assert_weights_agree(found, expected)


@KINDS
@pytest.mark.parametrize("name", ["t-net", "meta-curvature", "meta-sgd", "composed"])
def test_at_the_identity_what_changes_gradients_leaves_maml(name: str, kind: str) -> None:
    assert_weights_agree(gradients(name, kind)[0], gradients("maml", kind)[0])


@KINDS
@pytest.mark.parametrize(("logit", "other"), [(100.0, "t-net"), (-100.0, "")])
def test_with_masks_all_open_mt_net_is_t_net_and_all_closed_nothing_moves(
    logit: float, other: str, kind: str
) -> None:
    plain = learner("mt-net", kind)
    masks = {k: torch.full_like(v, logit) for k, v in plain.meta.items() if k.startswith("mask/")}
    found = gradients("mt-net", kind, masks)[0]
    assert_weights_agree(found, gradients(other, kind)[0] if other else query_gradient(kind))


@KINDS
def test_alfa_with_a_constant_generator_is_maml(kind: str) -> None:
    plain = learner("alfa", kind)
    extra = {k: torch.zeros_like(v) for k, v in plain.meta.items() if k.startswith("generator/")}
    extra["generator/layer2.bias"] += 1
    extra |= {k: torch.full_like(v, 0.1) for k, v in plain.meta.items() if k.startswith("rate/")}
    extra |= {k: torch.zeros_like(v) for k, v in plain.meta.items() if k.startswith("decay/")}
    assert_weights_agree(gradients("alfa", kind, extra)[0], gradients("maml", kind)[0])


def test_maml_plus_plus_after_its_annealing_is_maml_where_nothing_is_normalized() -> None:
    hyper = hyperparameters(0.1, inner_steps=3, progress=1.0)
    found = gradients("mamlpp", "regression", hyper=hyper)
    assert_weights_agree(found[0], gradients("maml", "regression")[0])
    all_close(found[2], gradients("maml", "regression")[2])


def test_maml_plus_plus_of_first_order_has_the_weighted_gradients_of_fomaml() -> None:
    at = {"progress": 0.0, "first_order_share": 0.5}
    found = gradients("mamlpp", "regression", hyper=hyperparameters(0.1, inner_steps=3, **at))[0]
    each = [
        gradients("fomaml", "regression", hyper=hyperparameters(0.1, inner_steps=n))[0]
        for n in (1, 2, 3)
    ]
    mean = {key: sum(one[key] for one in each) / 3 for key in each[0]}
    assert_weights_agree(found, mean)


def test_a_context_as_long_as_the_first_bias_adapts_that_bias() -> None:
    """With the identity as its projection, CAVIA is Meta-SGD that moves one bias only."""
    hyper = hyperparameters(0.1, inner_steps=3, context_size=6)
    identity = {"context/layer1.bias": torch.eye(6).double()}
    found = gradients("cavia", "regression", identity, hyper)
    weights = weights_of(learner("cavia", "regression"))
    rates = {
        f"rate/{key}": torch.full_like(value, 0.1 * (key == "layer1.bias"))
        for key, value in weights.items()
    }
    expected = gradients("meta-sgd", "regression", rates)
    assert_weights_agree(found[0], expected[0])
    all_close(found[2], expected[2])


def test_a_strong_proximal_term_leaves_the_query_gradient() -> None:
    """Nothing moves, and (I + H / strength)^-1 is the identity."""
    strong = 1e9
    hyper = hyperparameters(0.1 / strong, inner_steps=3, proximal_strength=strong)
    found, expected = gradients("imaml", "regression", hyper=hyper)[0], query_gradient("regression")
    assert relative_error(found, expected) <= 1e-6


def outputs(name: str, **hyper: float) -> tuple[Learner, Tensor]:
    plain = learner(name, "classification", hyper=hyperparameters(**hyper))
    return plain, plain.query_outputs(0)


def test_matching_with_sharp_attention_is_the_nearest_neighbour() -> None:
    plain, logits = outputs("matching", attention_scale=1e6)
    nearest = similarities(plain).argmax(-1)
    labels = plain.episodes.support.targets.gather(1, nearest)
    assert torch.equal(logits.argmax(-1), labels)


def test_matching_without_attention_counts_votes() -> None:
    plain, logits = outputs("matching", attention_scale=0.0)
    ways = plain.objective.ways
    assert ways is not None
    close(logits.exp(), torch.full_like(logits, 1 / ways))


def test_matching_gives_probabilities() -> None:
    _, logits = outputs("matching")
    close(logits.exp().sum(-1), torch.ones_like(logits[..., 0]))


def similarities(plain: Learner) -> Tensor:
    """Return cosines of queries (rows) and support examples (columns) in feature space."""
    network, episodes = plain.network, plain.episodes
    support, statistics = network.features(plain.meta, episodes.support.inputs, collect=True)
    query, _ = network.features(plain.meta, episodes.query.inputs, statistics)
    return torch.cosine_similarity(query.unsqueeze(2), support.unsqueeze(1), dim=-1)

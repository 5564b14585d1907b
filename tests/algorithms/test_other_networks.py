"""Meta-gradients on networks without a second implementation here, against finite differences."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from algorithms import ALGORITHMS
from networks import Network, Params, build
from tests.algorithms.learners import Learner, all_close, learner
from tests.algorithms.problems import (
    IMAGE,
    WAYS,
    generator,
    hyperparameters,
    scrambled,
)

NETWORKS = {
    "resnet12": {"filters": 2, "depth": 2, "activation": "silu"},
    "vit": {"patch": 4, "width": 6, "depth": 1, "heads": 2},
}
NOT_A_DERIVATIVE = ("fomaml", "reptile", "imaml", "alfa", "pretrain", "scratch")
"""Of first order, differences, implicit, with constants on the way, or of another loss."""
STEPS = (1e-6, 1e-7, 1e-8)
"""Several, since the maximum of a pool jumps from one position to another within some of them."""


def network(name: str) -> Network:
    return build(name, IMAGE, WAYS, NETWORKS[name])


def started(name: str, on: str, transductive: bool) -> Learner:
    """Initialize off the zeros and ones of a start, at the end of every annealing."""
    hyper = hyperparameters(0.1, progress=1.0)
    plain = learner(name, "classification", transductive, network(on), hyper)
    plain = replace(plain, meta=scrambled(plain.meta), episodes=plain.episodes[:2])
    return replace(plain, state=plain.gradients()[1])


def query_loss(plain: Learner, meta: Params) -> float:
    return float(plain.gradients(meta=meta)[2]["query_loss"].mean())


@pytest.mark.parametrize("transductive", [False, True], ids=["inductive", "transductive"])
@pytest.mark.parametrize("on", NETWORKS)
@pytest.mark.parametrize("name", [name for name in ALGORITHMS if name not in NOT_A_DERIVATIVE])
def test_the_meta_gradient_is_the_slope_of_the_query_loss(
    name: str, on: str, transductive: bool
) -> None:
    plain = started(name, on, transductive)
    rng, way = generator(3), {}
    for key, value in plain.meta.items():
        drawn = torch.randn(value.shape, generator=rng, dtype=torch.float64)
        way[key] = drawn * (not key.startswith("mask/"))  # zeros and ones have no slope
    gradients = plain.gradients()[0]
    slope = sum(float((gradients[key] * way[key]).sum()) for key in way)
    differences = []
    for step in STEPS:
        ahead, behind = (
            query_loss(plain, {key: plain.meta[key] + to * way[key] for key in way})
            for to in (step, -step)
        )
        differences.append((ahead - behind) / (2 * step))
    assert min(differences, key=lambda found: abs(found - slope)) == pytest.approx(
        slope, rel=1e-5, abs=1e-6
    )


@pytest.mark.parametrize("on", NETWORKS)
@pytest.mark.parametrize("name", ALGORITHMS)
def test_each_episode_can_have_meta_parameters_of_its_own(name: str, on: str) -> None:
    plain = started(name, on, False)
    lifted = replace(
        plain,
        meta={key: value.expand(2, *value.shape) for key, value in plain.meta.items()},
        state={key: value.expand(2, *value.shape) for key, value in plain.state.items()},
    )
    gradients, state, diagnostics = plain.gradients()
    found, found_state, found_diagnostics = lifted.gradients()
    all_close({key: value.sum(0) for key, value in found.items()}, gradients)
    all_close({key: value.mean(0) for key, value in found_state.items()}, state)
    all_close(found_diagnostics, diagnostics)

"""Meta-gradients against a plain float64 loop over episodes (tests/algorithms/reference.py)."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
import torch.nn.functional as F

from algorithms import ALGORITHMS, Objective
from algorithms.engine import Formulation, meta_gradients
from episodes.episode import Episodes
from networks import Network, Params
from tests.algorithms import reference
from tests.algorithms.problems import (
    classification_objective,
    image_episodes,
    regression_episodes,
    regression_objective,
    relative_error,
    scrambled,
    small_conv4,
    small_mlp,
)
from tests.algorithms.reference import Case

TOLERANCE = 1e-9
INNER_LR = 0.1
EPISODES = 5


@dataclass(frozen=True)
class Setting:
    network: Network
    objective: Objective
    case: Case
    episodes: Episodes


def regression_mlp(transductive: bool) -> Setting:
    return Setting(
        small_mlp(),
        regression_objective(transductive),
        Case(reference.mlp_forward(2), F.mse_loss, transductive),
        regression_episodes(EPISODES),
    )


def images_conv4(downsample: str, normalization: str, transductive: bool) -> Setting:
    forward = reference.conv4_forward(2, downsample, normalization)
    return Setting(
        small_conv4(downsample, normalization),
        classification_objective(transductive),
        Case(forward, F.cross_entropy, transductive),
        image_episodes(EPISODES),
    )


SETTINGS = {
    "mlp": lambda: regression_mlp(False),
    "pool-batch": lambda: images_conv4("pool", "batch", False),
    "pool-batch-transductive": lambda: images_conv4("pool", "batch", True),
    "stride-batch": lambda: images_conv4("stride", "batch", False),
    "stride-batch-transductive": lambda: images_conv4("stride", "batch", True),
    "pool-layer": lambda: images_conv4("pool", "layer", False),
    "pool-group": lambda: images_conv4("pool", "group", False),
    "pool-none": lambda: images_conv4("pool", "none", False),
    "stride-none": lambda: images_conv4("stride", "none", False),
}


def computed(
    name: str, setting: Setting, steps: int, chunk: int
) -> tuple[Params, Params, Params, Params]:
    """Return meta-parameters, state before, gradients and state after, all in float64."""
    algorithm = ALGORITHMS[name].make(setting.network, setting.objective)
    hyper = {"inner_lr": torch.tensor(INNER_LR, dtype=torch.float64), "inner_steps": steps}
    rng = torch.Generator().manual_seed(3)
    meta, state = algorithm.init(hyper, rng)
    meta, state = scrambled(meta), {key: value.double() for key, value in state.items()}
    gradients, after, _ = meta_gradients(
        algorithm, Formulation(chunk), meta, state, hyper, setting.episodes, rng
    )
    return meta, state, gradients, after


def expected(name: str, setting: Setting, meta: Params, steps: int) -> Params:
    case, episodes = setting.case, setting.episodes
    if name == "reptile":
        return reference.reptile(case, meta, episodes, steps, INNER_LR)
    if name == "pretrain":
        return reference.pretrain(case, meta, episodes)[0]
    weights = {key: value for key, value in meta.items() if not key.startswith("rate/")}
    if name == "meta-sgd":
        rates = {key: meta[f"rate/{key}"].clone().requires_grad_() for key in weights}
    else:
        adapts = setting.network.head_names if name == "anil" else tuple(weights)
        rates = {
            key: torch.tensor(INNER_LR * (key in adapts), dtype=torch.float64) for key in weights
        }
    return reference.through_adaptation(
        case, weights, episodes, steps, rates, second_order=name != "fomaml"
    )


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("steps", [1, 5])
@pytest.mark.parametrize("name", ALGORITHMS)
def test_meta_gradient_is_that_of_a_plain_loop(name: str, steps: int, setting: str) -> None:
    on = SETTINGS[setting]()
    meta, _, gradients, _ = computed(name, on, steps, chunk=EPISODES)
    assert relative_error(gradients, expected(name, on, meta, steps)) <= TOLERANCE


@pytest.mark.parametrize("chunk", [1, 2, 3, 100])
@pytest.mark.parametrize("setting", ["mlp", "pool-batch"])
@pytest.mark.parametrize("name", ALGORITHMS)
def test_chunks_change_nothing(name: str, setting: str, chunk: int) -> None:
    on = SETTINGS[setting]()
    meta, _, gradients, _ = computed(name, on, 2, chunk)
    assert relative_error(gradients, expected(name, on, meta, 2)) <= TOLERANCE


def test_pretraining_follows_the_statistics_of_its_batches() -> None:
    on = SETTINGS["pool-batch"]()
    meta, before, _, after = computed("pretrain", on, 1, chunk=EPISODES)
    _, statistics = reference.pretrain(on.case, meta, on.episodes)
    moved: Params = {}
    for layer, (mean, variance) in statistics.items():
        for kind, value in (("mean", mean), ("variance", variance)):
            moved[f"{layer}/{kind}"] = 0.9 * before[f"{layer}/{kind}"] + 0.1 * value.detach()
    assert relative_error(after, moved) <= TOLERANCE

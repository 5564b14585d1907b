"""Problems as both implementations see them, and what the one under test makes of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from algorithms import Algorithm, Hyper, Objective
from algorithms.algorithm import Diagnostics
from algorithms.engine import Formulation, meta_gradients
from episodes.episode import IGNORED, Episodes
from networks import Network, Params
from tests.algorithms.problems import (
    IMAGE,
    SEED,
    WAYS,
    classification_objective,
    double,
    generator,
    image_episodes,
    keys_of,
    mask_episodes,
    mask_objective,
    regression_episodes,
    regression_objective,
    scrambled,
    small_conv4,
    small_mlp,
    small_unet,
)
from tests.algorithms.reference import networks as plain
from tests.algorithms.reference.run import Case, Run

EPISODES = 3


@dataclass(frozen=True)
class Setting:
    network: Network
    objective: Objective
    case: Case
    episodes: Episodes


def regression(normalization: str = "none", transductive: bool = False) -> Setting:
    network = small_mlp(normalization=normalization)
    return Setting(
        network,
        regression_objective(transductive),
        _case(network, plain.mlp(2, normalization), F.mse_loss, transductive, None),
        regression_episodes(EPISODES),
    )


def vectors(normalization: str = "none") -> Setting:
    """Classification with a fully connected network."""
    network = small_mlp(normalization=normalization, input_shape=IMAGE, outputs=WAYS)
    return Setting(
        network,
        classification_objective(),
        _case(network, plain.mlp(2, normalization), F.cross_entropy, False, WAYS),
        image_episodes(EPISODES),
    )


def images(
    downsample: str, normalization: str, transductive: bool = False, residual: bool = False
) -> Setting:
    network = small_conv4(downsample, normalization, residual=residual)
    forward = plain.conv4(2, downsample, normalization, residual)
    return Setting(
        network,
        classification_objective(transductive),
        _case(network, forward, F.cross_entropy, transductive, WAYS),
        image_episodes(EPISODES),
    )


def plain_pixel_loss(outputs: Tensor, targets: Tensor) -> Tensor:
    return F.cross_entropy(outputs.flatten(0, 2), targets.flatten(), ignore_index=IGNORED)


def masks(normalization: str, transductive: bool = False) -> Setting:
    network = small_unet(normalization)
    forward = plain.unet(2, normalization)
    return Setting(
        network,
        mask_objective(transductive),
        _case(network, forward, plain_pixel_loss, transductive, None),
        mask_episodes(EPISODES),
    )


def _case(
    network: Network, forward: plain.Forward, loss: Callable, transductive: bool, ways: int | None
) -> Case:
    names, batches = tuple(network.shapes), network.batch_normalized
    return Case(forward, names, batches, loss, transductive, ways)


SETTINGS: dict[str, Callable[[], Setting]] = {
    "mlp": lambda: regression(),
    "mlp-transductive": lambda: regression(transductive=True),
    "mlp-layer": lambda: regression("layer"),
    "vectors": lambda: vectors(),
    "pool-batch": lambda: images("pool", "batch"),
    "pool-batch-transductive": lambda: images("pool", "batch", True),
    "stride-batch": lambda: images("stride", "batch"),
    "stride-batch-transductive": lambda: images("stride", "batch", True),
    "pool-layer": lambda: images("pool", "layer"),
    "pool-layer-transductive": lambda: images("pool", "layer", True),
    "pool-group": lambda: images("pool", "group"),
    "pool-none": lambda: images("pool", "none"),
    "stride-none": lambda: images("stride", "none"),
    "residual": lambda: images("stride", "batch", residual=True),
}

MASK_SETTINGS: dict[str, Callable[[], Setting]] = {
    "masks-batch": lambda: masks("batch"),
    "masks-batch-transductive": lambda: masks("batch", True),
    "masks-none": lambda: masks("none"),
}
"""A U-Net's second derivatives take their time: one number of steps is enough for them."""


def values_for(algorithm: Algorithm, hyper: Hyper) -> tuple[Params, Params]:
    """Return meta-parameters and state in float64, away from their initial zeros and ones."""
    meta, state = algorithm.init(hyper, generator(3))
    state = double(state)
    seen = state.get("running/seen")
    if seen is not None:
        # As after a few batches: an average whose weights add up to `seen`.
        rng = generator(4)
        for name, value in state.items():
            drawn = torch.rand(value.shape, generator=rng, dtype=torch.float64)
            state[name] = 0.3 * (drawn + 0.5 if name.endswith("/variance") else drawn - 0.5)
        state["running/seen"] = torch.tensor(0.3, dtype=torch.float64)
    return scrambled(meta), state


@dataclass(frozen=True)
class Computed:
    """What the algorithm under test made of `run`, which a reference can be given too."""

    run: Run
    gradients: Params
    state: Params
    diagnostics: Diagnostics


def compute(
    algorithm: Algorithm, setting: Setting, hyper: Hyper, chunk: int | None = None
) -> Computed:
    meta, state = values_for(algorithm, hyper)
    found = meta_gradients(
        algorithm,
        Formulation(chunk or len(setting.episodes)),
        meta,
        state,
        hyper,
        setting.episodes,
        keys_of(setting.episodes),
    )
    return Computed(Run(setting.case, meta, state, hyper, setting.episodes, SEED), *found)

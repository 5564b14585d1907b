"""Task distributions and configurations small enough to train in a fraction of a second."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np
import torch

from episodes import load
from episodes.episode import SPLITS, Episodes, Examples, Kind, Split, TaskDistribution
from search.config import Config, Problem
from spaces.algorithms import ALGORITHM_SPACES
from spaces.networks import NETWORK_SPACES
from spaces.space import bare

RUNG, RANKING, TEST = 4, 5, 6


class NoisyPrototypes:
    """Classification of 8 x 8 images, each a noisy copy of its class's prototype."""

    name = "prototypes"
    kind: Kind = "classification"
    input_shape: tuple[int, ...] = (1, 8, 8)
    outputs = 3
    train_classes: int | None = 6
    digest = "prototypes"

    def sample(self, split: Split, seed: int, indices: np.ndarray | range) -> Episodes:
        prototypes = np.random.default_rng(SPLITS.index(split)).normal(size=(6, *self.input_shape))
        inputs, classes = [], []
        for index in indices:
            rng = np.random.default_rng([SPLITS.index(split), seed, index])
            classes.append(rng.permutation(6)[:3])
            images = np.tile(prototypes[classes[-1]], (4, 1, 1, 1))
            inputs.append(images + 0.5 * rng.normal(size=images.shape))
        images = torch.tensor(np.stack(inputs), dtype=torch.float32)
        labels = torch.arange(3).repeat(2).expand(len(indices), -1)
        return Episodes(
            Examples(images[:, :6], labels),
            Examples(images[:, 6:], labels),
            torch.from_numpy(np.stack(classes)),
            torch.tensor(list(indices)),
        )


PAIRS: list[tuple[str, Kind]] = [
    (name, kind)
    for name, space in ALGORITHM_SPACES.items()
    for kind in ("regression", "classification")
    if kind in space.defaults
]
"""Every algorithm with every kind of problem that it is for."""


def distribution(kind: Kind) -> TaskDistribution:
    if kind == "classification":
        return NoisyPrototypes()
    return load("sinusoid", shots=5, query_shots=5)


SMALL: dict[str, Any] = {
    "inner_lr": 0.02,
    "inner_steps": 2,
    "inner_steps_evaluation": 3,
    "outer_lr": 0.01,
    "outer_schedule": "cosine",
    "clip_norm": 1.0,
    "meta_batch_size": 5,
    "cg_steps": 2,
    "context_size": 3,
}
STRUCTURES: dict[str, dict[str, Any]] = {
    "mlp": {"width": 8, "depth": 2},
    "conv4": {"filters": 4, "depth": 2},
    "resnet12": {"filters": 2, "depth": 2},
    "vit": {"patch": 4, "width": 8, "depth": 1, "heads": 2},
}
FIELDS = {field.name for field in fields(Config)}


def small_config(algorithm: str = "maml", kind: Kind = "regression", **changes: Any) -> Config:
    """Return a configuration; `changes` are fields of it, or hyperparameters.

    What is not changed are the published defaults, but for sizes that make it quick.
    """
    classification = kind == "classification"
    problem = Problem(
        task="prototypes" if classification else "sinusoid",
        kind=kind,
        shots=2 if classification else 5,
        query_shots=2 if classification else 5,
        ways=3 if classification else None,
        rung_episodes=RUNG,
        ranking_episodes=RANKING,
        test_episodes=TEST,
    )
    network = changes.pop("network", "conv4" if classification else "mlp")
    structure = {**NETWORK_SPACES[network].defaults[kind], **STRUCTURES[network]}
    settings = {**structure, **changes.pop("settings", {})}
    others = {name: changes.pop(name) for name in list(changes) if name in FIELDS}
    space = ALGORITHM_SPACES[algorithm]
    values = {**space.defaults[kind], **SMALL, **changes}
    around = {"kind": kind, **NETWORK_SPACES[network].seen(settings)}
    hyper = space.walk(around, lambda name, _: values[bare(name)])
    assert changes.keys() <= hyper.keys(), "a change would have no effect"
    chosen = {"episodes": 24, "rungs": (8,), "seed": 1, **others}
    return Config(problem, algorithm, network, hyper, settings, **chosen)

"""Task distributions and configurations small enough to train in a fraction of a second."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from episodes import load
from episodes.episode import SPLITS, Episodes, Examples, Kind, Split, TaskDistribution
from search.config import Config, Problem

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


def distribution(kind: Kind) -> TaskDistribution:
    if kind == "classification":
        return NoisyPrototypes()
    return load("sinusoid", shots=5, query_shots=5)


def small_config(algorithm: str = "maml", kind: Kind = "regression", **changes: Any) -> Config:
    """Return a configuration; `changes` are fields of it, or hyperparameters."""
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
    hyper: dict[str, Any] = {
        "inner_lr": 0.02,
        "inner_steps": 2,
        "inner_steps_evaluation": 3,
        "outer_lr": 0.01,
        "outer_optimizer": "sgd" if algorithm == "reptile" else "adam",
        "outer_schedule": "cosine",
        "clip_norm": 1.0,
        "meta_batch_size": 5,
    }
    conv4 = {"filters": 4, "depth": 2, "downsample": "pool", "normalization": "batch"}
    fields: dict[str, Any] = {
        "network": "conv4" if classification else "mlp",
        "settings": conv4 if classification else {"width": 8, "depth": 2},
        "episodes": 24,
        "rungs": (8,),
        "seed": 1,
    }
    for name, value in changes.items():
        (hyper if name in hyper else fields)[name] = value
    return Config(problem=problem, algorithm=algorithm, hyper=hyper, **fields)

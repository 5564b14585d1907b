"""Initialized algorithms with something to learn, and the lists of those there are."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from algorithms import ALGORITHMS, Adapted, Algorithm, Hyper, Objective, make
from algorithms.algorithm import Diagnostics
from episodes.episode import Episodes, Examples
from networks import Network, Params
from tests.algorithms.problems import (
    classification_objective,
    double,
    generator,
    hyperparameters,
    image_episodes,
    keys_of,
    regression_episodes,
    regression_objective,
    small_conv4,
    small_mlp,
)

EPISODES = 4
KINDS = ("regression", "classification")


@dataclass(frozen=True)
class Learner:
    """An initialized algorithm in float64, with episodes to learn from."""

    network: Network
    algorithm: Algorithm
    objective: Objective
    episodes: Episodes
    hyper: Hyper
    meta: Params
    state: Params

    def adapt(self, steps: int, start: Adapted | None = None, **changes: object) -> Adapted:
        changed = replace(self, **changes)
        return changed.algorithm.adapt(
            changed.meta,
            changed.state,
            changed.hyper,
            changed.episodes.support,
            steps,
            keys_of(changed.episodes),
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
        changed = replace(self, **changes)
        return changed.algorithm.meta_gradients(
            changed.meta,
            changed.state,
            changed.hyper,
            changed.episodes,
            keys_of(changed.episodes),
        )


def learner(
    name: str,
    kind: str,
    transductive: bool = False,
    network: Network | None = None,
    hyper: Hyper | None = None,
    seed: int = 0,
) -> Learner:
    if kind == "regression":
        network, objective = network or small_mlp(), regression_objective(transductive)
        episodes = regression_episodes(EPISODES)
    else:
        network, objective = network or small_conv4(), classification_objective(transductive)
        episodes = image_episodes(EPISODES)
    algorithm = make(name, network, objective, {})
    hyper = hyper or hyperparameters(0.05)
    blank = Learner(network, algorithm, objective, episodes, hyper, {}, {})
    return learning(algorithm, blank, seed)


def learning(algorithm: Algorithm, like: Learner, seed: int = 0) -> Learner:
    """Initialize another algorithm for the same problem."""
    meta, state = algorithm.init(like.hyper, generator(seed))
    return replace(like, algorithm=algorithm, meta=double(meta), state=double(state))


ALL = [
    (name, kind)
    for name, entry in ALGORITHMS.items()
    for kind in KINDS
    if not (entry.classes and kind == "regression")
]
CLASSIFYING = list(ALGORITHMS)
ADAPTING = [pair for pair in ALL if learner(*pair).algorithm.adapts]
SEPARABLE = [pair for pair in ALL if learner(*pair).algorithm.separable]


def close(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-11)


def all_close(found: Params, expected: Params) -> None:
    assert found.keys() == expected.keys()
    for name, value in found.items():
        close(value, expected[name])

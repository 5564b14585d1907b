"""First-order MAML that gets into trouble: it raises, diverges, exits, hangs, or eats memory."""

from __future__ import annotations

import os
import time
from dataclasses import replace

import torch
from torch import Tensor

import algorithms
from algorithms import Algorithm, Objective
from algorithms.algorithm import Diagnostics, Hyper
from algorithms.registry import ALGORITHMS
from episodes.episode import Episodes
from networks import Network, Params
from spaces.algorithms import ALGORITHM_SPACES
from spaces.extension import AlgorithmExtension
from spaces.parameter import Float, Int
from spaces.space import Space

CALLS = 20
"""Meta-batches before the trouble begins."""

RAISES, NAN, EXITS, NO_MEMORY, RANDOM, HANGS, HUNGRY = range(7)
EATEN = 2_000_000_000
"""Bytes that an episode takes for a moment, once, where it is HUNGRY."""


def make_unruly(network: Network, objective: Objective) -> Algorithm:
    """Build FOMAML with the hyperparameters `trouble` and `luck`.

    trouble: which of them; RANDOM lets `luck`, a number that a sampler learns nothing from, choose
        each of the first four for one trial in ten.
    """
    sound = ALGORITHMS["fomaml"].make(network, objective)
    calls = 0

    def meta_gradients(
        meta: Params, state: Params, hyper: Hyper, episodes: Episodes, keys: Tensor
    ) -> tuple[Params, Params, Diagnostics]:
        nonlocal calls
        calls += 1
        trouble = trouble_of(int(hyper["trouble"]), float(hyper["luck"]))
        if calls > CALLS:
            _get_into(trouble)
        if calls == CALLS + 1 and trouble == HUNGRY:
            _eat(len(episodes) * EATEN)
        gradients, state, diagnostics = sound.meta_gradients(meta, state, hyper, episodes, keys)
        if calls > CALLS and trouble == NAN:
            gradients = {name: value * torch.nan for name, value in gradients.items()}
        return gradients, state, diagnostics

    return replace(sound, name="unruly", meta_gradients=meta_gradients)


def trouble_of(trouble: int, luck: float) -> int:
    """Return what RANDOM comes down to; RANDOM itself for no trouble."""
    # Rounded as the tensor that the algorithm is given.
    drawn = int(float(torch.tensor(luck)) * 1e4) % 10
    return drawn if trouble == RANDOM and drawn <= NO_MEMORY else trouble


def _get_into(trouble: int) -> None:
    if trouble == RAISES:
        raise KeyError("a bug in a user's algorithm")
    if trouble == EXITS:
        os._exit(3)
    if trouble == NO_MEMORY:
        torch.empty(2**60, dtype=torch.uint8)
    if trouble == HANGS:
        time.sleep(3600)


def _eat(size: int) -> None:
    """Take so many bytes, in steps between which a node's memory monitor gets to see it."""
    eaten = []
    for _ in range(20):
        eaten.append(torch.ones(size // 20, dtype=torch.uint8))
        time.sleep(0.1)


_space = ALGORITHM_SPACES["fomaml"]
unruly = AlgorithmExtension(
    algorithms.Entry(make_unruly, "FOMAML that gets into trouble"),
    Space(
        {**_space.parameters, "trouble": Int(0, 9), "luck": Float(0.0, 1.0)},
        {
            kind: {**values, "trouble": RANDOM, "luck": 0.99995}
            for kind, values in _space.defaults.items()
        },
    ),
)

"""The algorithm record: a few-shot learning algorithm as pure functions over dictionaries."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from algorithms.parts.losses import Loss
from episodes.episode import Episodes, Examples
from networks.network import Params, Statistics

Hyper = Mapping[str, Tensor | int]
"""Continuous hyperparameters as tensors (never baked into a program), counts as ints.

A tensor is a scalar, or (T,) where the episodes of a batch belong to different configurations.
"progress", if given, is the share of the training budget that is spent, 0 to 1.
"""

Diagnostics = dict[str, Tensor]
"""(T,) values by name: `query_loss` after adaptation, and the score where the loss has one, such as
`query_accuracy`."""


@dataclass(frozen=True)
class Objective:
    """What an algorithm needs to know of the problem.

    loss: per-episode loss, and score where there is one.
    transductive: whether query examples may share normalization statistics.
    ways: classes in an episode, and train_classes in meta-train; None where an episode has none to
        tell apart.
    """

    loss: Loss
    transductive: bool = False
    ways: int | None = None
    train_classes: int | None = None


@dataclass(frozen=True)
class Loop:
    """Where an inner loop stands, so that it can go on.

    origin: what the loop started from, and fast: what it has become, each (T, *shape) by name.
    slots: the inner optimizer's memory, (T, *shape) by "<slot>/<name>".
    taken: steps so far.
    observed: the support set's normalization statistics at each step, where they are recorded.
    """

    origin: Params
    fast: Params
    slots: Params
    taken: int
    observed: tuple[Statistics, ...] = ()


@dataclass(frozen=True)
class Adapted:
    """What the inner loop leaves of T episodes.

    params: the networks' parameters, those that adapted with a leading axis T.
    statistics: normalization statistics that queries must use; None where they use their own.
    loop: what is needed to take more steps; None where there is no loop.
    """

    params: Params
    statistics: Statistics | None = None
    loop: Loop | None = None


class Init(Protocol):
    """(hyper, rng) -> (meta, state): what is meta-learned, and what is carried without gradient."""

    def __call__(self, hyper: Hyper, rng: torch.Generator) -> tuple[Params, Params]: ...


class Adapt(Protocol):
    """The inner loop on T episodes, the same code at meta-train and meta-test.

    keys: (T,) int64, what random numbers of an episode are derived from (`algorithms.parts.noise`),
        so that they depend neither on its place in a batch nor on how a batch is cut.
    With `start`, go on from there instead of from `meta`. The result is differentiable with
    respect to `meta` where `meta` requires gradients and the algorithm is not of first order.
    """

    def __call__(
        self,
        meta: Params,
        state: Params,
        hyper: Hyper,
        support: Examples,
        steps: int,
        keys: Tensor,
        start: Adapted | None = None,
    ) -> Adapted: ...


class Predict(Protocol):
    """Outputs (T, N, outputs) of adapted networks on query inputs (T, N, *input_shape)."""

    def __call__(self, meta: Params, state: Params, adapted: Adapted, inputs: Tensor) -> Tensor: ...


class MetaGradients(Protocol):
    """Descent direction for `meta`, averaged over T episodes; the new state; diagnostics.

    Where the values of `meta` have a leading axis T, every episode has its own (replicas of a
    configuration run as one batch), and so has what is returned: 1/T of an episode's own direction,
    and the state that follows from that episode alone.
    """

    def __call__(
        self, meta: Params, state: Params, hyper: Hyper, episodes: Episodes, keys: Tensor
    ) -> tuple[Params, Params, Diagnostics]: ...


@dataclass(frozen=True)
class Algorithm:
    """A few-shot learning algorithm for one network and objective.

    separable: whether `meta_gradients` is a mean over episodes that do not see each other, so that
        a batch can be cut into chunks, and each episode can have its own `meta`.
    adapts: whether there is an inner loop; without one `adapt` ignores its number of steps.
    """

    name: str
    init: Init
    adapt: Adapt
    predict: Predict
    meta_gradients: MetaGradients
    separable: bool = field(default=True)
    adapts: bool = field(default=True)

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
"""Continuous hyperparameters as tensors (never baked into a program), counts as ints."""

Diagnostics = dict[str, Tensor]
"""(T,) values by name: `query_loss` after adaptation and, for classification, `query_accuracy`."""


@dataclass(frozen=True)
class Objective:
    """What an algorithm needs to know of the problem.

    loss: per-episode loss, and accuracy where there is one.
    transductive: whether query examples may share normalization statistics.
    ways: classes in an episode, and train_classes in meta-train; None for regression.
    """

    loss: Loss
    transductive: bool = False
    ways: int | None = None
    train_classes: int | None = None


@dataclass(frozen=True)
class Adapted:
    """What the inner loop leaves of T episodes.

    params: the networks' parameters, those that adapted with a leading axis T.
    statistics: normalization statistics that queries must use; None where they use their own.
    """

    params: Params
    statistics: Statistics | None = None


class Init(Protocol):
    """(hyper, rng) -> (meta, state): what is meta-learned, and what is carried without gradient."""

    def __call__(self, hyper: Hyper, rng: torch.Generator) -> tuple[Params, Params]: ...


class Adapt(Protocol):
    """The inner loop on T episodes, the same code at meta-train and meta-test.

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
        rng: torch.Generator,
        start: Adapted | None = None,
    ) -> Adapted: ...


class Predict(Protocol):
    """Outputs (T, N, outputs) of adapted networks on query inputs (T, N, *input_shape)."""

    def __call__(self, meta: Params, state: Params, adapted: Adapted, inputs: Tensor) -> Tensor: ...


class MetaGradients(Protocol):
    """Descent direction for `meta`, averaged over T episodes; the new state; diagnostics."""

    def __call__(
        self, meta: Params, state: Params, hyper: Hyper, episodes: Episodes, rng: torch.Generator
    ) -> tuple[Params, Params, Diagnostics]: ...


@dataclass(frozen=True)
class Algorithm:
    """A few-shot learning algorithm for one network and objective.

    separable: whether `meta_gradients` is a mean over episodes that do not see each other, so that
        a batch can be cut into chunks.
    """

    name: str
    init: Init
    adapt: Adapt
    predict: Predict
    meta_gradients: MetaGradients
    separable: bool = field(default=True)

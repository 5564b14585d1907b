"""What every reference works on, and the gradient of a mean over episodes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from episodes.episode import Episodes
from tests.algorithms.reference.networks import Context, Forward, Moments, Weights

Batch = tuple[Tensor, Tensor]
"""Inputs (N, ...) and targets (N, ...)."""

HEAD = ("head.weight", "head.bias")


class Episode(NamedTuple):
    """One episode without an episode axis."""

    support: Batch
    query: Batch
    classes: Tensor
    index: int


@dataclass(frozen=True)
class Case:
    """One network with one problem.

    names: the network's parameters, in the order of its layers.
    batch_normalized: whether the network's outputs depend on other examples.
    """

    forward: Forward
    names: tuple[str, ...]
    batch_normalized: bool
    loss: Callable[[Tensor, Tensor], Tensor]
    transductive: bool
    ways: int | None

    def support_loss(
        self,
        weights: Weights,
        support: Batch,
        maps: Weights | None = None,
        context: Context | None = None,
    ) -> Tensor:
        found = self.forward(weights, support[0], maps=maps, context=context)
        return self.loss(found.outputs, support[1])

    def query_pass(
        self,
        weights: Weights,
        support: Batch,
        query: Tensor,
        maps: Weights | None = None,
        context: Context | None = None,
    ) -> Tensor:
        """Return outputs on queries, normalized by the support set unless transductive."""
        statistics: Moments | None = None
        if not self.transductive:
            statistics = self.forward(weights, support[0], maps=maps, context=context).moments
        return self.forward(weights, query, statistics, maps=maps, context=context).outputs


@dataclass(frozen=True)
class Run:
    """A case with values: meta-parameters, carried state, hyperparameters, episodes, a seed."""

    case: Case
    meta: Weights
    state: Weights
    hyper: Mapping[str, Tensor | int]
    episodes: Episodes
    seed: int

    @property
    def rate(self) -> float:
        return float(self.hyper["inner_lr"])

    @property
    def steps(self) -> int:
        return int(self.hyper["inner_steps"])

    def one_by_one(self) -> Iterator[Episode]:
        support, query = self.episodes.support, self.episodes.query
        for t in range(len(self.episodes)):
            yield Episode(
                (support.inputs[t], support.targets[t]),
                (query.inputs[t], query.targets[t]),
                self.episodes.classes[t],
                int(self.episodes.index[t]),
            )


Outputs = Callable[[Run, Weights, Episode, int], Tensor]
"""(run, meta-parameters, episode, steps) -> outputs on the episode's queries after adaptation."""


def leaves(weights: Weights) -> Weights:
    return {name: value.detach().clone().requires_grad_() for name, value in weights.items()}


def gradients_of(loss: Tensor, weights: Weights, graph: bool = False) -> Weights:
    found = torch.autograd.grad(loss, list(weights.values()), create_graph=graph, allow_unused=True)
    return {
        name: torch.zeros_like(value) if gradient is None else gradient
        for (name, value), gradient in zip(weights.items(), found, strict=True)
    }


def of_mean(run: Run, loss_of: Callable[[Weights, Episode], Tensor]) -> Weights:
    """Return the gradient of the mean over episodes of a loss with respect to `run.meta`."""
    meta = leaves(run.meta)
    losses = [loss_of(meta, episode) for episode in run.one_by_one()]
    return gradients_of(torch.stack(losses).mean(), meta)


def through(outputs: Outputs) -> Callable[[Run], tuple[Weights, Weights]]:
    """Return what differentiates the mean query loss; nothing is carried from batch to batch."""

    def gradients(run: Run) -> tuple[Weights, Weights]:
        def loss_of(meta: Weights, episode: Episode) -> Tensor:
            found = outputs(run, meta, episode, run.steps)
            return run.case.loss(found, episode.query[1])

        return of_mean(run, loss_of), run.state

    return gradients


def network_of(run: Run, meta: Weights) -> Weights:
    """Return those meta-parameters that are the network's own."""
    return {name: meta[name] for name in run.case.names if name in meta}


def layer_of(name: str) -> str:
    return name.rpartition(".")[0] or name

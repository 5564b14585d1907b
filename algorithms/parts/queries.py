"""The query sets of a batch of episodes, a few at a time.

A support set is small, and a CPU takes it faster together with those of other episodes; a query set
is large, and what it holds for its derivative is most of what a meta-gradient needs. By the chain
rule, the gradient of a query loss by adapted parameters can be had by itself, of as many episodes
at once as one likes, before any goes back through the inner loop.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from algorithms.algorithm import Adapted, Objective, Predict
from episodes.episode import Episodes
from networks.network import Params, Statistics

STATISTIC = "statistics/"

_at_once: ContextVar[int | None] = ContextVar("queries_at_once", default=None)


@contextmanager
def queries_at_once(episodes: int | None) -> Iterator[None]:
    """Let the query sets of so many episodes pass at once; None for all of a batch."""
    token = _at_once.set(episodes)
    try:
        yield
    finally:
        _at_once.reset(token)


def at_once(episodes: int) -> int | None:
    """Return how many of a batch's query sets pass at once; None where nobody has said."""
    size = _at_once.get()
    return None if size is None else min(size, episodes)


@dataclass
class Pull:
    """Tensors that a loss depends on, and its gradients by them, until both go back together."""

    ends: list[Tensor] = field(default_factory=list)
    gradients: list[Tensor] = field(default_factory=list)

    def back_to(self, meta: Params) -> Params:
        """Return the gradients by meta-parameters, zeros for those that nothing depends on."""
        found = torch.autograd.grad(
            self.ends,
            list(meta.values()),
            self.gradients,
            allow_unused=True,
            materialize_grads=True,
        )
        return dict(zip(meta, found, strict=True))


def pull(
    predict: Predict,
    objective: Objective,
    ranks: Mapping[str, int],
    state: Params,
    adapted: Adapted,
    episodes: Episodes,
    weight: Tensor,
    size: int,
    into: Pull,
) -> Tensor:
    """Add to `into` the gradient of the weighted mean of T query losses by what adapted.

    predict: must depend on nothing else.
    ranks: axes of each parameter; one that has more leads with T.
    weight: a scalar, or (T,).
    size: episodes whose query sets pass at once.
    Returns the outputs, (T, N, outputs).
    """
    flat, own = _flat(adapted, ranks)
    moving = [name for name, value in flat.items() if value.requires_grad]
    parts: dict[str, list[Tensor]] = {name: [] for name in moving}
    like = next(iter(flat.values()))
    weights = weight.to(like.device, like.dtype).expand(len(episodes))
    told: list[Tensor] = []
    for first in range(0, len(episodes), size):
        some = episodes[first : first + size]
        piece = {
            name: (value.detach()[first : first + size] if own[name] else value.detach())
            for name, value in flat.items()
        }
        leaves = {name: piece[name].requires_grad_() for name in moving}
        outputs = predict({}, state, _adapted(adapted, piece | leaves), some.query.inputs)
        losses = objective.loss.per_episode(outputs, some.query.targets)
        told.append(outputs.detach())
        found = torch.autograd.grad(
            (weights[first : first + size] * losses).sum() / len(episodes),
            list(leaves.values()),
            allow_unused=True,
            materialize_grads=True,
        )
        for name, gradient in zip(moving, found, strict=True):
            parts[name].append(gradient)
    into.ends += [flat[name] for name in moving]
    into.gradients += [
        torch.cat(parts[name]) if own[name] else torch.stack(parts[name]).sum(0) for name in moving
    ]
    return torch.cat(told)


def _flat(adapted: Adapted, ranks: Mapping[str, int]) -> tuple[Params, dict[str, bool]]:
    """Return all tensors that queries meet, and which of them lead with an axis of episodes."""
    flat = dict(adapted.params)
    own = {name: value.dim() > ranks[name] for name, value in flat.items()}
    for name, both in (adapted.statistics or {}).items():
        for i, value in enumerate(both):
            flat[f"{STATISTIC}{name}/{i}"] = value
            own[f"{STATISTIC}{name}/{i}"] = value.dim() > 1
    return flat, own


def _adapted(whole: Adapted, flat: Params) -> Adapted:
    """Return what queries meet, of the tensors that `_flat` lists."""
    statistics: Statistics | None = None
    if whole.statistics is not None:
        statistics = {
            name: (flat[f"{STATISTIC}{name}/0"], flat[f"{STATISTIC}{name}/1"])
            for name in whole.statistics
        }
    return replace(
        whole, params={name: flat[name] for name in whole.params}, statistics=statistics, loop=None
    )

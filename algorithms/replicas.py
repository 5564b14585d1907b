"""Replicas: several copies of a configuration, each with its own seed, run as one batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from algorithms.algorithm import Algorithm, Diagnostics, Hyper
from episodes.episode import Episodes
from networks.network import Params

Results = tuple[Params, Params, Diagnostics]


def direct(
    algorithm: Algorithm,
    meta: Params,
    state: Params,
    hyper: Hyper,
    episodes: Episodes,
    keys: Tensor,
    replicas: int | None = None,
) -> tuple[Params, Params, Diagnostics]:
    """Return the meta-gradients of one batch, at once.

    replicas: None for one configuration. Else every value of `meta` and `state` is stacked along a
        leading axis of R replicas, as is what is returned; the T episodes are those of the first
        replica, then those of the second, ..., equally many each. A tensor in `hyper` is a
        scalar, or (R,) where the replicas are different configurations of one structure.
    """
    if replicas is None:
        return algorithm.meta_gradients(meta, state, hyper, episodes, keys)
    each = len(episodes) // replicas
    own = {
        name: _spread(value, each) if isinstance(value, Tensor) and value.dim() else value
        for name, value in hyper.items()
    }
    gradients, after, diagnostics = algorithm.meta_gradients(
        {name: _spread(value, each) for name, value in meta.items()},
        {name: _spread(value, each) for name, value in state.items()},
        own,
        episodes,
        keys,
    )
    # An episode's gradient counts 1/T here, and 1/each in the mean over its replica's.
    return (
        {name: _gathered(value, each).sum(1) * replicas for name, value in gradients.items()},
        {name: _gathered(value, each).mean(1) for name, value in after.items()},
        diagnostics,
    )


def in_groups(
    several: Callable[[Params, Params, Hyper, Episodes, Tensor, int], Results],
    alone: Callable[[Params, Params, Hyper, Episodes, Tensor], Results],
    together: int,
    stack: tuple[Params, Params, Hyper, Episodes, Tensor],
    replicas: int,
) -> Results:
    """Return what `direct` does, several replicas at once where their episodes are few.

    several: (meta, state, hyper, episodes, keys, replicas) -> the meta-gradients of a stack.
    alone: (meta, state, hyper, episodes, keys) -> those of one replica, which is not stacked.
    together: episodes that may run as one batch.
    """
    meta, state, hyper, episodes, keys = stack
    each = len(episodes) // replicas
    size = max(1, min(replicas, together // each))
    parts: list[Results] = []
    for first in range(0, replicas, size):
        group = slice(first, min(first + size, replicas))
        own = {
            name: value[group] if isinstance(value, Tensor) and value.dim() else value
            for name, value in hyper.items()
        }
        some = episodes[group.start * each : group.stop * each]
        their = keys[group.start * each : group.stop * each]
        metas = {name: value[group] for name, value in meta.items()}
        states = {name: value[group] for name, value in state.items()}
        count = group.stop - group.start
        if count > 1:
            parts.append(several(metas, states, own, some, their, count))
        else:
            single = alone(_first(metas), _first(states), _first(own), some, their)
            gradients, after, diagnostics = single
            parts.append((_stack_of_one(gradients), _stack_of_one(after), diagnostics))
    gradients, after, diagnostics = (
        {name: torch.cat([part[i][name] for part in parts]) for name in parts[0][i]}
        for i in range(3)
    )
    return gradients, after, diagnostics


def _first(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a stack of one replica holds; scalars and counts belong to every replica."""
    return {
        name: value[0] if isinstance(value, Tensor) and value.dim() else value
        for name, value in values.items()
    }


def _stack_of_one(values: Params) -> Params:
    return {name: value.unsqueeze(0) for name, value in values.items()}


def _spread(value: Tensor, each: int) -> Tensor:
    """Return (R, ...) as (T, ...): to every episode what belongs to its replica."""
    return value.repeat_interleave(each, 0, output_size=len(value) * each)


def _gathered(value: Tensor, each: int) -> Tensor:
    """Return (T, ...) as (R, T / R, ...)."""
    return value.view(-1, each, *value.shape[1:])

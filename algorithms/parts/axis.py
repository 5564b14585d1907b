"""The episode axis: values that episodes share, or that each of T episodes has for itself.

A value of plain shape is shared; with one more axis, in front, every episode has its own. Which of
the two it is shows in its number of axes.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from networks.network import Params

Ranks = Mapping[str, int]
"""Number of axes of a shared value, by name."""


def ranks_of(params: Params) -> dict[str, int]:
    """Return the ranks of shared values."""
    return {name: value.dim() for name, value in params.items()}


def per_episode(params: Params, ranks: Ranks, episodes: int) -> Params:
    """Give each of T episodes its own view (T, *shape) of shared values."""
    return {name: each(value, ranks[name], episodes) for name, value in params.items()}


def each(value: Tensor, rank: int, episodes: int) -> Tensor:
    """Return a value as (T, *shape)."""
    return value if value.dim() > rank else value.expand(episodes, *value.shape)


def scaled(factor: Tensor, value: Tensor) -> Tensor:
    """Return (T, *shape) times a scalar, or times one scalar an episode, (T,)."""
    return factor.reshape(-1, *[1] * (value.dim() - 1)) * value if factor.dim() else factor * value


def averaged(direction: Tensor, like: Tensor) -> Tensor:
    """Reduce (T, *shape) to the mean over episodes, where `like` is shared by them.

    Where each episode has its own, 1/T of the episode's direction: as a gradient of the mean does.
    """
    if like.dim() < direction.dim():
        return direction.mean(0)
    return direction / len(direction)


def requires_grad(params: Params) -> bool:
    """Whether anything in `params` is being differentiated."""
    return any(value.requires_grad for value in params.values())


def stacked(params: list[Params]) -> Params:
    """Stack the values of several dictionaries along a new axis in front."""
    return {name: torch.stack([each[name] for each in params]) for name in params[0]}

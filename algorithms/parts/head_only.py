"""The inner loop over the last layer, above features that stay as they are."""

from __future__ import annotations

from torch import Tensor

from algorithms.algorithm import Objective
from algorithms.parts.descent import descend
from networks.network import Network, Params


def adapt_head(
    network: Network,
    objective: Objective,
    features: Tensor,
    targets: Tensor,
    head: Params,
    rate: Tensor,
    steps: int,
    *,
    differentiable: bool,
) -> Params:
    """Take `steps` gradient steps on per-episode heads (T, *shape), on fixed support features.

    features: (T, N, F), computed once, for they do not change within the loop.
    """

    def loss(params: Params) -> Tensor:
        return objective.loss.per_episode(network.head(params, features), targets)

    return descend(loss, head, rate, steps, differentiable=differentiable)


def split_head(network: Network, params: Params) -> tuple[Params, Params]:
    """Split parameters into those of the body and those of the head."""
    head = {name: params[name] for name in network.head_names}
    body = {name: value for name, value in params.items() if name not in head}
    return body, head

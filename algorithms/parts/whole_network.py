"""The inner loop over all of a network's parameters."""

from __future__ import annotations

import torch

from algorithms.algorithm import Adapt, Adapted, Hyper, Objective
from algorithms.parts.descent import descend, per_episode, requires_grad
from algorithms.parts.forward import support_loss, support_statistics
from episodes.episode import Examples
from networks.network import Network, Params


def adapt_all(network: Network, objective: Objective, *, second_order: bool) -> Adapt:
    """Return `adapt`: gradient descent on every parameter with one rate, `inner_lr`.

    Finn et al. 2017, equation 1. second_order: whether the result is differentiated through the
    gradients of the inner loop when `meta` requires gradients.
    """

    def adapt(
        meta: Params,
        state: Params,
        hyper: Hyper,
        support: Examples,
        steps: int,
        rng: torch.Generator,
        start: Adapted | None = None,
    ) -> Adapted:
        params = start.params if start else per_episode(meta, len(support.inputs))
        params = descend(
            support_loss(network, objective, support),
            params,
            torch.as_tensor(hyper["inner_lr"]),
            steps,
            differentiable=second_order and requires_grad(meta),
        )
        return Adapted(params, support_statistics(network, objective, params, support))

    return adapt

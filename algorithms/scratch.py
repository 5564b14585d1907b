"""The baseline without meta-training: an episode's support set is all that is learned from."""

from __future__ import annotations

import torch
from torch import Tensor

from algorithms.algorithm import Algorithm, Diagnostics, Hyper, Objective
from algorithms.parts.inner_loop import InnerLoop
from algorithms.parts.meta import diagnose, steps_of
from algorithms.recipe import Recipe
from episodes.episode import Episodes
from networks.network import Network, Params

RECIPE = Recipe(meta_gradient="first_order", inner_optimizer="adam")


def scratch(network: Network, objective: Objective) -> Algorithm:
    """Build the baseline that tells what meta-training is worth at all: each episode by itself,
    from random weights.

    The whole network is trained from its random initialization on an episode's support set, by as
    many steps of Adam (Kingma and Ba 2015, arXiv:1412.6980, algorithm 1) on all of it as there are
    inner steps. Nothing is learned from one episode to the next: meta-gradients are zero. So
    training costs next to nothing, and judging an episode as much as training a network.
    Hyperparameters: `inner_lr`, `inner_momentum` and `inner_decay` (Adam's alpha, beta_1 and
    beta_2); `inner_steps` only for the query loss of training episodes, 0 if it is not given.
    """
    inner = InnerLoop(network, objective, RECIPE)

    def meta_gradients(
        meta: Params, state: Params, hyper: Hyper, episodes: Episodes, keys: Tensor
    ) -> tuple[Params, Params, Diagnostics]:
        with torch.no_grad():
            adapted = inner.adapt(meta, state, hyper, episodes.support, steps_of(hyper), keys)
            outputs = inner.predict(meta, state, adapted, episodes.query.inputs)
            found = diagnose(objective, outputs, episodes.query.targets)
        return {name: torch.zeros_like(value) for name, value in meta.items()}, state, found

    return Algorithm("scratch", inner.init, inner.adapt, inner.predict, meta_gradients)

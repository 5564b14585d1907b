"""Reptile: move the initialization towards where each episode's training ends."""

from __future__ import annotations

import torch

from algorithms.algorithm import Algorithm, Diagnostics, Hyper, Objective
from algorithms.parts.forward import predictor
from algorithms.parts.initialization import network_weights
from algorithms.parts.meta import diagnose, steps_of
from algorithms.parts.whole_network import adapt_all
from episodes.episode import Episodes, Examples
from networks.network import Network, Params


def reptile(network: Network, objective: Objective) -> Algorithm:
    """Build Reptile in batches (Nichol, Achiam and Schulman 2018, arXiv:1803.02999, algorithm 2).

    At meta-train it needs no query set: the inner loop trains on all of an episode's examples,
    full batch, by plain gradient descent. The direction is meta minus the mean of the adapted
    parameters, for an outer optimizer to scale: SGD with `outer_lr` gives the paper's update.
    Meta-parameters: the network's. Hyperparameters: `inner_lr`, `inner_steps`.
    """
    adapt = adapt_all(network, objective, second_order=False)
    predict = predictor(network)

    def meta_gradients(
        meta: Params, state: Params, hyper: Hyper, episodes: Episodes, rng: torch.Generator
    ) -> tuple[Params, Params, Diagnostics]:
        support, query = episodes.support, episodes.query
        everything = Examples(
            torch.cat([support.inputs, query.inputs], 1),
            torch.cat([support.targets, query.targets], 1),
        )
        with torch.no_grad():
            adapted = adapt(meta, state, hyper, everything, steps_of(hyper), rng)
            outputs = predict(meta, state, adapted, query.inputs)
            direction = {name: meta[name] - adapted.params[name].mean(0) for name in meta}
        return direction, state, diagnose(objective, outputs, query.targets)

    return Algorithm("reptile", network_weights(network), adapt, predict, meta_gradients)

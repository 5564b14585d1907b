"""Reptile: move the initialization towards where each episode's training ends."""

from __future__ import annotations

from algorithms.algorithm import Algorithm, Objective
from algorithms.compose import compose
from algorithms.recipe import Recipe
from networks.network import Network

RECIPE = Recipe(meta_gradient="difference")


def reptile(network: Network, objective: Objective) -> Algorithm:
    """Build Reptile in batches (Nichol, Achiam and Schulman 2018, arXiv:1803.02999, algorithm 2).

    At meta-train it needs no query set: the inner loop trains on all of an episode's examples,
    full batch, by plain gradient descent. The direction is meta minus the mean of the adapted
    parameters, for an outer optimizer to scale: SGD with `outer_lr` gives the paper's update.
    Meta-parameters: the network's. Hyperparameters: `inner_lr`, `inner_steps`.
    """
    return compose("reptile", network, objective, RECIPE)

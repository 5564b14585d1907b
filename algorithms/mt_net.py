"""MT-net: T-net whose inner loop moves a learned subspace of the weights."""

from __future__ import annotations

from algorithms.algorithm import Algorithm, Objective
from algorithms.compose import compose
from algorithms.recipe import Recipe
from networks.network import Network

RECIPE = Recipe(adapts="subspace", preconditioner="layerwise")


def mt_net(network: Network, objective: Objective) -> Algorithm:
    """Build MT-net (Lee and Choi 2018, arXiv:1801.05558, section 3.2, algorithm 2).

    Each episode samples for every output unit of every layer whether its parameters move, from
    probabilities that are learned. Meta-parameters: those of T-net, and logits under "mask/".
    Hyperparameters: `inner_lr`, `inner_steps`.
    """
    return compose("mt-net", network, objective, RECIPE)

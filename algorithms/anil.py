"""ANIL: MAML whose inner loop adapts nothing but the last layer."""

from __future__ import annotations

from algorithms.algorithm import Algorithm, Objective
from algorithms.compose import compose
from algorithms.recipe import Recipe
from networks.network import Network

RECIPE = Recipe(adapts="head")


def anil(network: Network, objective: Objective) -> Algorithm:
    """Build ANIL (Raghu, Raghu, Bengio and Vinyals 2020, arXiv:1909.09157, section 4).

    The body is shared by all episodes, so it runs as one dense batch; it still learns in the outer
    loop, to second order. Meta-parameters: the network's. Hyperparameters: `inner_lr`,
    `inner_steps`.
    """
    return compose("anil", network, objective, RECIPE)

"""BOIL: MAML whose inner loop adapts everything but the last layer."""

from __future__ import annotations

from algorithms.algorithm import Algorithm, Objective
from algorithms.compose import compose
from algorithms.recipe import Recipe
from networks.network import Network

RECIPE = Recipe(adapts="body")


def boil(network: Network, objective: Objective) -> Algorithm:
    """Build BOIL (Oh, Yoo, Kim and Yun 2021, arXiv:2008.08882, section 3).

    The head stays at its learned values within an episode, so that the features have to change.
    Meta-parameters: the network's. Hyperparameters: `inner_lr`, `inner_steps`.
    """
    return compose("boil", network, objective, RECIPE)

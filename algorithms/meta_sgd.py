"""Meta-SGD: learn the initialization and a learning rate for every parameter."""

from __future__ import annotations

from algorithms.algorithm import Algorithm, Objective
from algorithms.compose import compose
from algorithms.recipe import Recipe
from networks.network import Network

RECIPE = Recipe(rate="parameter", rate_learned=True)


def meta_sgd(network: Network, objective: Objective) -> Algorithm:
    """Build Meta-SGD (Li, Zhou, Chen and Li 2017, arXiv:1707.09835, algorithm 1, equation 3).

    Meta-parameters: the network's, and one rate for each of their entries under "rate/". Rates may
    become negative. Hyperparameters: `inner_lr`, what all rates start from (the paper draws them
    at random), and `inner_steps` (1 in the paper).
    """
    return compose("meta-sgd", network, objective, RECIPE)

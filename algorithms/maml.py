"""MAML: learn an initialization from which a few gradient steps suffice."""

from __future__ import annotations

from algorithms.algorithm import Algorithm, Objective
from algorithms.compose import compose
from algorithms.recipe import Recipe
from networks.network import Network

RECIPE = Recipe()


def maml(network: Network, objective: Objective) -> Algorithm:
    """Build second-order MAML (Finn, Abbeel and Levine 2017, arXiv:1703.03400, algorithms 1 and 2).

    Meta-parameters: the network's. Hyperparameters: `inner_lr`, `inner_steps`.
    """
    return compose("maml", network, objective, RECIPE)

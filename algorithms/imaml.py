"""iMAML: an implicit meta-gradient, which does not depend on the inner loop's path."""

from __future__ import annotations

from algorithms.algorithm import Algorithm, Objective
from algorithms.compose import compose
from algorithms.recipe import Recipe
from networks.network import Network

RECIPE = Recipe(meta_gradient="implicit", proximal=True)


def imaml(network: Network, objective: Objective) -> Algorithm:
    """Build iMAML (Rajeswaran, Finn, Kakade and Levine 2019, arXiv:1909.04630, algorithms 1 and 2).

    The inner loss is held near the initialization by a proximal term of `proximal_strength`
    (lambda in the paper); the meta-gradient solves a linear system by `cg_steps` steps of
    conjugate gradients. Meta-parameters: the network's. Hyperparameters: `inner_lr`,
    `inner_steps`, `proximal_strength`, `cg_steps`.
    """
    return compose("imaml", network, objective, RECIPE)

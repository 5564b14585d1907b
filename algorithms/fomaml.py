"""First-order MAML: MAML without derivatives of the inner gradients."""

from __future__ import annotations

from algorithms.algorithm import Algorithm, Objective
from algorithms.compose import compose
from algorithms.recipe import Recipe
from networks.network import Network

RECIPE = Recipe(meta_gradient="first_order")


def fomaml(network: Network, objective: Objective) -> Algorithm:
    """Build first-order MAML (Finn et al. 2017, section 5.2; Nichol et al. 2018, equation 9).

    The gradient of the query loss at the adapted parameters is taken as the meta-gradient.
    Meta-parameters: the network's. Hyperparameters: `inner_lr`, `inner_steps`.
    """
    return compose("fomaml", network, objective, RECIPE)

"""CAVIA: adapt a small context vector; all of the network is shared."""

from __future__ import annotations

from algorithms.algorithm import Algorithm, Objective
from algorithms.compose import compose
from algorithms.recipe import Recipe
from networks.network import Network

RECIPE = Recipe(adapts="context")


def cavia(network: Network, objective: Objective) -> Algorithm:
    """Build CAVIA (Zintgraf et al. 2019, arXiv:1810.03642, equations 1 to 3).

    The context is zero at the start of every episode. It shifts the first layer's bias, which is
    what concatenating it to the inputs does, or the scales and shifts of the first normalization
    (FiLM). Meta-parameters: the network's, and the projections of the context under "context/".
    Hyperparameters: `inner_lr`, `inner_steps`, `context_size`.
    """
    return compose("cavia", network, objective, RECIPE)

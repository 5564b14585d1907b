"""T-net: gradient steps through learned layerwise linear maps."""

from __future__ import annotations

from algorithms.algorithm import Algorithm, Objective
from algorithms.compose import compose
from algorithms.recipe import Recipe
from networks.network import Network

RECIPE = Recipe(preconditioner="layerwise")


def t_net(network: Network, objective: Objective) -> Algorithm:
    """Build T-net (Lee and Choi 2018, arXiv:1801.05558, section 3.1).

    Every layer is followed by a linear map of its outputs, learned in the outer loop alone, that
    warps the inner gradients. Meta-parameters: the network's, and the maps under "warp/".
    Hyperparameters: `inner_lr`, `inner_steps`.
    """
    return compose("t-net", network, objective, RECIPE)

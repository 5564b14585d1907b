"""Meta-Curvature: learned matrices transform the inner gradients."""

from __future__ import annotations

from algorithms.algorithm import Algorithm, Objective
from algorithms.compose import compose
from algorithms.recipe import Recipe
from networks.network import Network

RECIPE = Recipe(preconditioner="kronecker")


def meta_curvature(network: Network, objective: Objective) -> Algorithm:
    """Build Meta-Curvature (Park and Oliva 2019, arXiv:1902.03356, section 3.2, "MC2").

    A matrix for the outputs, the inputs and the kernel positions of every weight, all starting at
    the identity. Meta-parameters: the network's, and the matrices under "curvature/".
    Hyperparameters: `inner_lr`, `inner_steps`.
    """
    return compose("meta-curvature", network, objective, RECIPE)

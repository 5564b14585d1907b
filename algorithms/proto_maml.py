"""ProtoMAML: MAML whose last layer starts at the prototypes of each episode."""

from __future__ import annotations

from algorithms.algorithm import Algorithm, Objective
from algorithms.compose import compose
from algorithms.recipe import Recipe
from networks.network import Network

RECIPE = Recipe(head="prototypes")


def proto_maml(network: Network, objective: Objective) -> Algorithm:
    """Build ProtoMAML (Triantafillou et al. 2020, arXiv:1903.03096, section 3).

    The meta-gradient flows through the prototypes too. Classification only. Meta-parameters: those
    of the network's body. Hyperparameters: `inner_lr`, `inner_steps`.
    """
    return compose("proto-maml", network, objective, RECIPE)

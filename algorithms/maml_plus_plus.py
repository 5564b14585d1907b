"""MAML++: MAML with a rate for each layer and step, and losses after every step."""

from __future__ import annotations

from algorithms.algorithm import Algorithm, Objective
from algorithms.compose import compose
from algorithms.recipe import Recipe
from networks.network import Network

RECIPE = Recipe(
    rate="layer_step",
    rate_learned=True,
    meta_gradient="annealed",
    query_loss="multi_step",
    inner_normalization="per_step",
)


def maml_plus_plus(network: Network, objective: Objective) -> Algorithm:
    """Build MAML++ (Antoniou, Edwards and Storkey 2019, arXiv:1810.09502, section 4).

    Multi-step loss, annealed over the share `multi_step_share` of the budget; first order up to the
    share `first_order_share`, then second order; a learned rate for each layer and step; scales,
    shifts and running statistics of batch normalization for each step. The cosine schedule of the
    outer loop is `outer_schedule`. Where the problem is transductive, queries are normalized with
    their own statistics, as in the paper's code, and no running ones are kept.
    Hyperparameters: `inner_lr`, what all rates start from, `inner_steps`, and the shares.
    """
    return compose("mamlpp", network, objective, RECIPE)

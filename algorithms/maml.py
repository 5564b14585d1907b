"""MAML: learn an initialization from which a few gradient steps suffice."""

from __future__ import annotations

from algorithms.algorithm import Algorithm, Objective
from algorithms.parts.forward import predictor
from algorithms.parts.initialization import network_weights
from algorithms.parts.meta import through_query_loss
from algorithms.parts.whole_network import adapt_all
from networks.network import Network


def maml(network: Network, objective: Objective) -> Algorithm:
    """Build second-order MAML (Finn, Abbeel and Levine 2017, arXiv:1703.03400, algorithms 1 and 2).

    Meta-parameters: the network's. Hyperparameters: `inner_lr`, `inner_steps`.
    """
    adapt = adapt_all(network, objective, second_order=True)
    predict = predictor(network)
    gradients = through_query_loss(adapt, predict, objective)
    return Algorithm("maml", network_weights(network), adapt, predict, gradients)

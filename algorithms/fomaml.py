"""First-order MAML: MAML without derivatives of the inner gradients."""

from __future__ import annotations

from algorithms.algorithm import Algorithm, Objective
from algorithms.parts.forward import predictor
from algorithms.parts.initialization import network_weights
from algorithms.parts.meta import through_query_loss
from algorithms.parts.whole_network import adapt_all
from networks.network import Network


def fomaml(network: Network, objective: Objective) -> Algorithm:
    """Build first-order MAML (Finn et al. 2017, section 5.2; Nichol et al. 2018, equation 9).

    The gradient of the query loss at the adapted parameters is taken as the meta-gradient.
    Meta-parameters: the network's. Hyperparameters: `inner_lr`, `inner_steps`.
    """
    adapt = adapt_all(network, objective, second_order=False)
    predict = predictor(network)
    gradients = through_query_loss(adapt, predict, objective)
    return Algorithm("fomaml", network_weights(network), adapt, predict, gradients)

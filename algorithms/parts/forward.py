"""Support loss, support statistics and prediction of algorithms that adapt whole networks."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from algorithms.algorithm import Adapted, Objective, Predict
from episodes.episode import Examples
from networks.network import Network, Params, Statistics


def support_loss(
    network: Network, objective: Objective, support: Examples
) -> Callable[[Params], Tensor]:
    """Return the (T,) loss on the support sets as a function of the parameters."""

    def loss(params: Params) -> Tensor:
        return objective.loss.per_episode(network(params, support.inputs), support.targets)

    return loss


def support_statistics(
    network: Network, objective: Objective, params: Params, support: Examples
) -> Statistics | None:
    """Return what queries are normalized with: the support set's statistics, if not transductive.

    Without this a query's prediction would depend on the other queries of its episode.
    """
    if objective.transductive or not network.batch_normalized:
        return None
    return network.features(params, support.inputs, collect=True)[1]


def predictor(network: Network) -> Predict:
    """Return the `predict` of an algorithm whose adapted parameters are a whole network's."""

    def predict(meta: Params, state: Params, adapted: Adapted, inputs: Tensor) -> Tensor:
        return network(adapted.params, inputs, adapted.statistics)

    return predict

"""Meta-SGD: learn the initialization and a learning rate for every parameter."""

from __future__ import annotations

import torch

from algorithms.algorithm import Adapted, Algorithm, Hyper, Objective
from algorithms.parts.descent import descend, per_episode, requires_grad
from algorithms.parts.forward import predictor, support_loss, support_statistics
from algorithms.parts.meta import through_query_loss
from episodes.episode import Examples
from networks.network import Network, Params

RATE = "rate/"


def meta_sgd(network: Network, objective: Objective) -> Algorithm:
    """Build Meta-SGD (Li, Zhou, Chen and Li 2017, arXiv:1707.09835, algorithm 1, equation 3).

    Meta-parameters: the network's, and one rate for each of their entries under "rate/". Rates may
    become negative. Hyperparameters: `inner_lr`, what all rates start from (the paper draws them
    at random), and `inner_steps` (1 in the paper).
    """

    def init(hyper: Hyper, rng: torch.Generator) -> tuple[Params, Params]:
        weights = network.init(rng)
        rate = torch.as_tensor(hyper["inner_lr"])
        rates = {RATE + name: rate.expand_as(value).clone() for name, value in weights.items()}
        return weights | rates, {}

    def adapt(
        meta: Params,
        state: Params,
        hyper: Hyper,
        support: Examples,
        steps: int,
        rng: torch.Generator,
        start: Adapted | None = None,
    ) -> Adapted:
        weights = {name: value for name, value in meta.items() if not name.startswith(RATE)}
        params = descend(
            support_loss(network, objective, support),
            start.params if start else per_episode(weights, len(support.inputs)),
            {name: meta[RATE + name] for name in weights},
            steps,
            differentiable=requires_grad(meta),
        )
        return Adapted(params, support_statistics(network, objective, params, support))

    predict = predictor(network)
    gradients = through_query_loss(adapt, predict, objective)
    return Algorithm("meta-sgd", init, adapt, predict, gradients)

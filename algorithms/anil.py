"""ANIL: MAML whose inner loop adapts nothing but the last layer."""

from __future__ import annotations

import torch

from algorithms.algorithm import Adapted, Algorithm, Hyper, Objective
from algorithms.parts.descent import per_episode, requires_grad
from algorithms.parts.forward import predictor
from algorithms.parts.head_only import adapt_head, split_head
from algorithms.parts.initialization import network_weights
from algorithms.parts.meta import through_query_loss
from episodes.episode import Examples
from networks.network import Network, Params


def anil(network: Network, objective: Objective) -> Algorithm:
    """Build ANIL (Raghu, Raghu, Bengio and Vinyals 2020, arXiv:1909.09157, section 4).

    The body is shared by all episodes, so it runs as one dense batch; it still learns in the outer
    loop, to second order. Meta-parameters: the network's. Hyperparameters: `inner_lr`,
    `inner_steps`.
    """

    def adapt(
        meta: Params,
        state: Params,
        hyper: Hyper,
        support: Examples,
        steps: int,
        rng: torch.Generator,
        start: Adapted | None = None,
    ) -> Adapted:
        body, head = split_head(network, start.params if start else meta)
        collect = network.batch_normalized and not objective.transductive
        features, statistics = network.features(body, support.inputs, collect=collect)
        head = adapt_head(
            network,
            objective,
            features,
            support.targets,
            head if start else per_episode(head, len(support.inputs)),
            torch.as_tensor(hyper["inner_lr"]),
            steps,
            differentiable=requires_grad(meta),
        )
        return Adapted(body | head, statistics if collect else None)

    predict = predictor(network)
    gradients = through_query_loss(adapt, predict, objective)
    return Algorithm("anil", network_weights(network), adapt, predict, gradients)

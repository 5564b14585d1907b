"""Learners without an inner loop: a query is compared with the support set's features."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from algorithms.algorithm import Adapted, Algorithm, Hyper, Objective
from algorithms.errors import RecipeError
from algorithms.parts.meta import through_query_loss
from episodes.episode import Examples
from networks.network import Network, Params

Remember = Callable[[Tensor, Tensor, int, Hyper], Params]
Compare = Callable[[Params, Tensor], Tensor]


def comparing(
    name: str, network: Network, objective: Objective, remember: Remember, compare: Compare
) -> Algorithm:
    """Build an algorithm whose meta-parameters are those of a network without its last layer.

    remember: (support features (T, N, F), labels (T, N), ways, hyper) -> what is kept of an
        episode, (T, ...) by name.
    compare: (what was kept, query features (T, M, F)) -> logits (T, M, ways).
    Raises RecipeError for a problem without classes to tell apart.
    """
    if objective.ways is None:
        raise RecipeError(f"{name}: needs classes to tell apart, and the problem has none")
    ways = objective.ways
    collects = network.batch_normalized and not objective.transductive

    def init(hyper: Hyper, rng: torch.Generator) -> tuple[Params, Params]:
        weights = network.init(rng)
        return {key: weights[key] for key in weights if key not in network.head_names}, {}

    def adapt(
        meta: Params,
        state: Params,
        hyper: Hyper,
        support: Examples,
        steps: int,
        keys: Tensor,
        start: Adapted | None = None,
    ) -> Adapted:
        features, statistics = network.features(meta, support.inputs, collect=collects)
        kept = remember(features, support.targets, ways, hyper)
        return Adapted(meta | kept, statistics if collects else None)

    def predict(meta: Params, state: Params, adapted: Adapted, inputs: Tensor) -> Tensor:
        features, _ = network.features(adapted.params, inputs, adapted.statistics)
        return compare(adapted.params, features)

    gradients = through_query_loss(adapt, predict, objective)
    return Algorithm(name, init, adapt, predict, gradients, adapts=False)

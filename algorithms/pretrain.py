"""The baseline without meta-learning: ordinary training, then fine-tuning on each episode."""

from __future__ import annotations

import torch
from torch import Tensor

from algorithms.algorithm import Adapted, Algorithm, Diagnostics, Hyper, Objective
from algorithms.parts.descent import per_episode
from algorithms.parts.forward import predictor
from algorithms.parts.head_only import adapt_head, split_head
from algorithms.parts.initialization import network_weights
from algorithms.parts.meta import diagnose, gradients_of, leaves
from algorithms.parts.whole_network import adapt_all
from episodes.episode import Episodes, Examples
from networks.initialization import linear_parameters
from networks.network import Network, Params, Statistics

MOMENTUM = 0.1
MEAN, VARIANCE = "/mean", "/variance"


def pretrain(network: Network, objective: Objective) -> Algorithm:
    """Build the baseline that every meta-learner has to beat.

    Classification (Chen et al. 2019, arXiv:1904.04232, section 3.2, "Baseline"): a classifier of
    all meta-train classes is trained on pooled examples with their global labels; for an episode
    the body is frozen and a new linear head, zero at first, is fine-tuned on the support set.
    Regression: one network is trained on pooled examples of all functions, then all of it is
    fine-tuned. Hyperparameters: `inner_lr` of the fine-tuning.
    """
    if objective.train_classes is None:
        return _pooled_regression(network, objective)
    return _pooled_classification(network, objective, objective.train_classes)


def _pooled(examples: list[Examples], targets: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Join examples of T episodes into one batch with an episode axis of 1."""
    inputs = torch.cat([part.inputs for part in examples], 1).flatten(0, 1).unsqueeze(0)
    return inputs, torch.cat(targets, 1).flatten(0, 1).unsqueeze(0)


def _pooled_regression(network: Network, objective: Objective) -> Algorithm:
    def meta_gradients(
        meta: Params, state: Params, hyper: Hyper, episodes: Episodes, rng: torch.Generator
    ) -> tuple[Params, Params, Diagnostics]:
        meta = leaves(meta)
        support, query = episodes.support, episodes.query
        inputs, targets = _pooled([support, query], [support.targets, query.targets])
        outputs = network(meta, inputs)
        loss = objective.loss.per_episode(outputs, targets).mean()
        gradients = gradients_of(loss, meta)
        of_query = outputs.view(len(episodes), -1, outputs.shape[-1])[:, support.inputs.shape[1] :]
        return gradients, state, diagnose(objective, of_query, query.targets)

    adapt = adapt_all(network, objective, second_order=False)
    init, predict = network_weights(network), predictor(network)
    return Algorithm("pretrain", init, adapt, predict, meta_gradients, separable=False)


def _pooled_classification(network: Network, objective: Objective, classes: int) -> Algorithm:
    def init(hyper: Hyper, rng: torch.Generator) -> tuple[Params, Params]:
        weights = network.init(rng)
        weight, bias = network.head_names
        weights[weight], weights[bias] = linear_parameters(weights[weight].shape[1], classes, rng)
        return weights, _initial_statistics(network, weights)

    def meta_gradients(
        meta: Params, state: Params, hyper: Hyper, episodes: Episodes, rng: torch.Generator
    ) -> tuple[Params, Params, Diagnostics]:
        meta = leaves(meta)
        support, query = episodes.support, episodes.query
        labels = [episodes.classes.gather(1, part.targets) for part in (support, query)]
        inputs, targets = _pooled([support, query], labels)
        features, statistics = network.features(meta, inputs, collect=network.batch_normalized)
        outputs = network.head(meta, features)
        loss = objective.loss.per_episode(outputs, targets).mean()
        gradients = gradients_of(loss, meta)
        of_query = outputs.view(len(episodes), -1, classes)[:, support.inputs.shape[1] :]
        diagnostics = diagnose(objective, of_query, labels[1])
        return gradients, _moved(state, statistics), diagnostics

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
        stored = None if objective.transductive else _stored(state)
        features, _ = network.features(body, support.inputs, stored)
        head = adapt_head(
            network,
            objective,
            features,
            support.targets,
            head if start else _new_head(head, objective, len(support.inputs)),
            torch.as_tensor(hyper["inner_lr"]),
            steps,
            differentiable=False,
        )
        return Adapted(body | head, stored)

    return Algorithm("pretrain", init, adapt, predictor(network), meta_gradients, separable=False)


def _new_head(head: Params, objective: Objective, episodes: int) -> Params:
    """Return heads of zeros for the episodes' own ways."""
    assert objective.ways is not None
    shapes = {name: (objective.ways, *value.shape[1:]) for name, value in head.items()}
    zeros = {name: head[name].new_zeros(shape) for name, shape in shapes.items()}
    return per_episode(zeros, episodes)


def _initial_statistics(network: Network, weights: Params) -> Params:
    """Return running means of 0 and variances of 1, flat, for every batch-normalized layer."""
    if not network.batch_normalized:
        return {}
    state: Params = {}
    for name, value in weights.items():
        layer, _, kind = name.rpartition(".")
        if kind == "scale":
            state[layer + MEAN] = torch.zeros_like(value)
            state[layer + VARIANCE] = torch.ones_like(value)
    return state


def _stored(state: Params) -> Statistics | None:
    """Read running statistics back from the flat state."""
    layers = [name.removesuffix(MEAN) for name in state if name.endswith(MEAN)]
    return {layer: (state[layer + MEAN], state[layer + VARIANCE]) for layer in layers} or None


def _moved(state: Params, statistics: Statistics) -> Params:
    """Move the running statistics towards those of a batch (an episode axis of 1)."""
    moved = dict(state)
    for layer, (mean, variance) in statistics.items():
        moved[layer + MEAN] = torch.lerp(state[layer + MEAN], mean[0].detach(), MOMENTUM)
        moved[layer + VARIANCE] = torch.lerp(
            state[layer + VARIANCE], variance[0].detach(), MOMENTUM
        )
    return moved

"""The baseline without meta-learning: ordinary training, then fine-tuning on each episode."""

from __future__ import annotations

import torch
from torch import Tensor

from algorithms.algorithm import Adapted, Algorithm, Diagnostics, Hyper, Objective
from algorithms.parts.axis import per_episode, ranks_of
from algorithms.parts.inner_loop import InnerLoop, differentiable
from algorithms.parts.meta import diagnose, gradients_of, leaves
from algorithms.recipe import Recipe
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
    fine-tuned. Segmentation likewise, on the masks of all classes: the "joint training" of Hendryx
    et al. 2019, arXiv:1912.06290, who compare it with FOMAML and Reptile. Hyperparameters:
    `inner_lr` of the fine-tuning.
    """
    if objective.train_classes is None:
        return _pooled_network(network, objective)
    return _pooled_classification(network, objective, objective.train_classes)


def _pooled(examples: list[Examples], targets: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Join examples of T episodes into one batch with an episode axis of 1."""
    inputs = torch.cat([part.inputs for part in examples], 1).flatten(0, 1).unsqueeze(0)
    return inputs, torch.cat(targets, 1).flatten(0, 1).unsqueeze(0)


def _pooled_network(network: Network, objective: Objective) -> Algorithm:
    def meta_gradients(
        meta: Params, state: Params, hyper: Hyper, episodes: Episodes, keys: Tensor
    ) -> tuple[Params, Params, Diagnostics]:
        meta = leaves(meta)
        support, query = episodes.support, episodes.query
        inputs, targets = _pooled([support, query], [support.targets, query.targets])
        outputs = network(meta, inputs)
        loss = objective.loss.per_episode(outputs, targets).mean()
        gradients = gradients_of(loss, meta)
        of_query = outputs.view(len(episodes), -1, *outputs.shape[2:])[:, support.inputs.shape[1] :]
        return gradients, state, diagnose(objective, of_query, query.targets)

    inner = InnerLoop(network, objective, Recipe(meta_gradient="first_order"))
    return Algorithm(
        "pretrain", inner.init, inner.adapt, inner.predict, meta_gradients, separable=False
    )


def _pooled_classification(network: Network, objective: Objective, classes: int) -> Algorithm:
    def init(hyper: Hyper, rng: torch.Generator) -> tuple[Params, Params]:
        weights = network.init(rng)
        weight, bias = network.head_names
        weights[weight], weights[bias] = linear_parameters(weights[weight].shape[1], classes, rng)
        return weights, _initial_statistics(network, weights)

    def meta_gradients(
        meta: Params, state: Params, hyper: Hyper, episodes: Episodes, keys: Tensor
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
        keys: Tensor,
        start: Adapted | None = None,
    ) -> Adapted:
        body = {name: value for name, value in meta.items() if name not in network.head_names}
        stored = None if objective.transductive else _stored(state)
        features, _ = network.features(body, support.inputs, stored)
        if start is None:
            head = _new_head(network, meta, objective, len(support.inputs))
        else:
            head = {name: start.params[name] for name in network.head_names}
        rate = torch.as_tensor(hyper["inner_lr"])
        for _ in range(steps):
            with torch.enable_grad():
                points = {name: differentiable(value.detach()) for name, value in head.items()}
                outputs = network.head(points, features.detach())
                losses = objective.loss.per_episode(outputs, support.targets)
                gradients = torch.autograd.grad(losses.sum(), list(points.values()))
            moved = zip(head.items(), gradients, strict=True)
            head = {name: value - rate * gradient for (name, value), gradient in moved}
        return Adapted(body | head, stored)

    def predict(meta: Params, state: Params, adapted: Adapted, inputs: Tensor) -> Tensor:
        return network(adapted.params, inputs, adapted.statistics)

    return Algorithm("pretrain", init, adapt, predict, meta_gradients, separable=False)


def _new_head(network: Network, meta: Params, objective: Objective, episodes: int) -> Params:
    """Return heads of zeros for the episodes' own ways."""
    assert objective.ways is not None
    head = {name: meta[name] for name in network.head_names}
    zeros = {
        name: value.new_zeros(objective.ways, *value.shape[1:]) for name, value in head.items()
    }
    return per_episode(zeros, ranks_of(zeros), episodes)


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

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
    all meta-train classes is trained on all examples of the episodes, with their global labels;
    for an episode the body is frozen and a new linear head, zero at first, is fine-tuned on the
    support set. Regression: one network is trained on the examples of all functions, then all of
    it is fine-tuned. Segmentation likewise, on the masks of all classes: the "joint training" of
    Hendryx et al. 2019, arXiv:1912.06290, who compare it with FOMAML and Reptile. Hyperparameters:
    `inner_lr` of the fine-tuning.

    What is minimized is the mean over episodes of the loss on an episode's examples, support and
    query. Batch normalization is by the examples of each episode, as it is for the other
    algorithms here, so that a batch of any size can be computed in parts; Chen et al. normalize
    over mini-batches of 16 images of any classes. As theirs, a frozen body then normalizes by
    running averages: of the episodes' means and variances, moved by a tenth with each batch.
    """
    if objective.train_classes is None:
        return _jointly(network, objective)
    return _classifying(network, objective, objective.train_classes)


def _everything(episodes: Episodes, support: Tensor, query: Tensor) -> Examples:
    """Return the support and the query inputs of each episode as one set, with such targets."""
    inputs = torch.cat([episodes.support.inputs, episodes.query.inputs], 1)
    return Examples(inputs, torch.cat([support, query], 1))


def _jointly(network: Network, objective: Objective) -> Algorithm:
    def meta_gradients(
        meta: Params, state: Params, hyper: Hyper, episodes: Episodes, keys: Tensor
    ) -> tuple[Params, Params, Diagnostics]:
        meta = leaves(meta)
        support, query = episodes.support, episodes.query
        everything = _everything(episodes, support.targets, query.targets)
        outputs = network(meta, everything.inputs)
        losses = objective.loss.per_episode(outputs, everything.targets)
        of_query = outputs[:, support.inputs.shape[1] :]
        diagnostics = diagnose(objective, of_query, query.targets)
        return gradients_of(losses.mean(), meta), state, diagnostics

    inner = InnerLoop(network, objective, Recipe(meta_gradient="first_order"))
    return Algorithm("pretrain", inner.init, inner.adapt, inner.predict, meta_gradients)


def _classifying(network: Network, objective: Objective, classes: int) -> Algorithm:
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
        everything = _everything(episodes, *labels)
        features, statistics = network.features(
            meta, everything.inputs, collect=network.batch_normalized
        )
        outputs = network.head(meta, features)
        losses = objective.loss.per_episode(outputs, everything.targets)
        of_query = outputs[:, support.inputs.shape[1] :]
        diagnostics = diagnose(objective, of_query, labels[1])
        return gradients_of(losses.mean(), meta), _moved(state, statistics), diagnostics

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

    return Algorithm("pretrain", init, adapt, predict, meta_gradients)


def _new_head(network: Network, meta: Params, objective: Objective, episodes: int) -> Params:
    """Return heads of zeros for the episodes' own ways."""
    assert objective.ways is not None
    zeros = {
        name: meta[name].new_zeros(objective.ways, *network.shapes[name][1:])
        for name in network.head_names
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
    """Move the running statistics towards the means over episodes of theirs, (T, channels).

    Where each episode has its own, (T, channels) too, these move towards that episode's.
    """
    after = dict(state)
    for layer, values in statistics.items():
        for kind, value in zip((MEAN, VARIANCE), values, strict=True):
            before, now = state[layer + kind], value.detach()
            shared = before.dim() < now.dim()
            after[layer + kind] = torch.lerp(before, now.mean(0) if shared else now, MOMENTUM)
    return after

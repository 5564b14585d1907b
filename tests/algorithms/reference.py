"""A second implementation of every algorithm, as plain as it can be.

One episode at a time, parameters without an episode axis, `torch.autograd.grad` over functions of
`torch.nn.functional`, normalization spelled out with mean and variance. Nothing here imports
`algorithms` or `networks`. Everything runs in the precision of its arguments: float64 in the tests.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from episodes.episode import Episodes

Weights = dict[str, Tensor]
Moments = dict[str, tuple[Tensor, Tensor]]
Forward = Callable[[Weights, Tensor, Moments | None], tuple[Tensor, Moments]]
"""(weights, inputs (N, ...), statistics to use or None for the batch's) -> outputs, statistics."""

EPSILON = 1e-5


@dataclass(frozen=True)
class Case:
    """One network with one problem: what every reference below works on."""

    forward: Forward
    loss: Callable[[Tensor, Tensor], Tensor]
    transductive: bool

    def adapted_query_loss(
        self, weights: Weights, support: tuple[Tensor, Tensor], query: tuple[Tensor, Tensor]
    ) -> Tensor:
        """Return the query loss, queries normalized by the support set unless transductive."""
        statistics = None if self.transductive else self.forward(weights, support[0], None)[1]
        return self.loss(self.forward(weights, query[0], statistics)[0], query[1])

    def inner_gradients(self, weights: Weights, batch: tuple[Tensor, Tensor], graph: bool) -> list:
        """Return d loss / d weights on a batch that is normalized by itself."""
        loss = self.loss(self.forward(weights, batch[0], None)[0], batch[1])
        return list(torch.autograd.grad(loss, list(weights.values()), create_graph=graph))


def mlp_forward(depth: int) -> Forward:
    def forward(
        weights: Weights, inputs: Tensor, statistics: Moments | None
    ) -> tuple[Tensor, Moments]:
        hidden = inputs.reshape(len(inputs), -1)
        for i in range(1, depth + 1):
            hidden = hidden @ weights[f"layer{i}.weight"].T + weights[f"layer{i}.bias"]
            hidden = torch.tanh(hidden)
        return hidden @ weights["head.weight"].T + weights["head.bias"], {}

    return forward


def conv4_forward(depth: int, downsample: str, normalization: str) -> Forward:
    def forward(
        weights: Weights, inputs: Tensor, statistics: Moments | None
    ) -> tuple[Tensor, Moments]:
        found: Moments = {}
        maps = inputs
        for i in range(1, depth + 1):
            block = f"block{i}"
            halve = min(maps.shape[-2:]) > 1
            stride = 2 if halve and downsample == "stride" else 1
            bias = weights.get(f"{block}.bias")
            maps = F.conv2d(maps, weights[f"{block}.weight"], bias, stride=stride, padding=1)
            if normalization == "batch":
                moments = _moments(maps, (0, 2, 3))
                found[block] = moments[0].flatten(), moments[1].flatten()
                if statistics is not None:
                    moments = tuple(m.view(1, -1, 1, 1) for m in statistics[block])
                maps = _standardize(maps, *moments)
            elif normalization == "layer":
                maps = _standardize(maps, *_moments(maps, (1, 2, 3)))
            elif normalization == "group":
                groups = maps.view(len(maps), min(8, maps.shape[1]), -1)
                maps = _standardize(groups, *_moments(groups, (2,))).view_as(maps)
            if normalization != "none":
                scale, shift = weights[f"{block}.scale"], weights[f"{block}.shift"]
                maps = maps * scale.view(-1, 1, 1) + shift.view(-1, 1, 1)
            maps = F.silu(maps)
            if halve and downsample == "pool":
                maps = F.max_pool2d(maps, 2)
        outputs = F.linear(maps.flatten(1), weights["head.weight"], weights["head.bias"])
        return outputs, found

    return forward


def _moments(values: Tensor, axes: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    mean = values.mean(axes, keepdim=True)
    return mean, ((values - mean) ** 2).mean(axes, keepdim=True)


def _standardize(values: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
    return (values - mean) / (variance + EPSILON).sqrt()


def episodes_one_by_one(episodes: Episodes) -> list[tuple[tuple[Tensor, Tensor], ...]]:
    """List ((support inputs, targets), (query inputs, targets)) without the episode axis."""
    support, query = episodes.support, episodes.query
    return [
        ((support.inputs[t], support.targets[t]), (query.inputs[t], query.targets[t]))
        for t in range(len(episodes))
    ]


def leaves(weights: Weights) -> Weights:
    return {name: value.detach().clone().requires_grad_() for name, value in weights.items()}


def through_adaptation(
    case: Case, meta: Weights, episodes: Episodes, steps: int, rates: Weights, second_order: bool
) -> Weights:
    """Gradient of the mean query loss after `steps` steps w <- w - rate * gradient.

    MAML and Meta-SGD with `second_order`, FOMAML without; ANIL where the body's rates are zero.
    `rates` may require gradients: then theirs are returned too, under "rate/".
    """
    start = leaves(meta)
    wanted = dict(start)
    if any(rate.requires_grad for rate in rates.values()):
        wanted |= {f"rate/{name}": rate for name, rate in rates.items()}
    total = torch.zeros((), dtype=torch.float64)
    for support, query in episodes_one_by_one(episodes):
        weights = start
        for _ in range(steps):
            gradients = case.inner_gradients(weights, support, graph=second_order)
            weights = {
                name: value - rates[name] * gradient
                for (name, value), gradient in zip(weights.items(), gradients, strict=True)
            }
        total = total + case.adapted_query_loss(weights, support, query)
    found = torch.autograd.grad(total / len(episodes), list(wanted.values()))
    return dict(zip(wanted, found, strict=True))


def reptile(case: Case, meta: Weights, episodes: Episodes, steps: int, rate: float) -> Weights:
    """Initialization minus the mean of where gradient descent on all examples ends."""
    ends: list[Weights] = []
    for support, query in episodes_one_by_one(episodes):
        batch = (torch.cat([support[0], query[0]]), torch.cat([support[1], query[1]]))
        weights = leaves(meta)
        for _ in range(steps):
            gradients = case.inner_gradients(weights, batch, graph=False)
            weights = leaves(
                {
                    name: value - rate * gradient
                    for (name, value), gradient in zip(weights.items(), gradients, strict=True)
                }
            )
        ends.append(weights)
    return {
        name: (value - sum(end[name] for end in ends) / len(ends)).detach()
        for name, value in meta.items()
    }


def pretrain(case: Case, meta: Weights, episodes: Episodes) -> tuple[Weights, Moments]:
    """Gradient of the loss on all examples of all episodes as one batch, and its statistics.

    Labels of classification are replaced by the ids of their classes.
    """
    inputs, targets = [], []
    for t, pair in enumerate(episodes_one_by_one(episodes)):
        for some_inputs, some_targets in pair:
            inputs.append(some_inputs)
            labels = some_targets.is_floating_point()
            targets.append(some_targets if labels else episodes.classes[t][some_targets])
    weights = leaves(meta)
    outputs, statistics = case.forward(weights, torch.cat(inputs), None)
    loss = case.loss(outputs, torch.cat(targets))
    found = torch.autograd.grad(loss, list(weights.values()))
    return dict(zip(weights, found, strict=True)), statistics

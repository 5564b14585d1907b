"""MAML and what differs from it by rates, by what moves, or by how it is differentiated."""

from __future__ import annotations

import torch
from torch import Tensor

from tests.algorithms.reference.networks import Moments, Weights
from tests.algorithms.reference.run import (
    HEAD,
    Episode,
    Outputs,
    Run,
    gradients_of,
    leaves,
    network_of,
    of_mean,
)


def _descent(
    run: Run, weights: Weights, episode: Episode, steps: int, rates: Weights, graph: bool = True
) -> Tensor:
    """Take steps w <- w - rate * gradient on the support set; return outputs on the queries."""
    for _ in range(steps):
        gradients = gradients_of(run.case.support_loss(weights, episode.support), weights, graph)
        weights = {name: value - rates[name] * gradients[name] for name, value in weights.items()}
    return run.case.query_pass(weights, episode.support, episode.query[0])


def maml(run: Run, meta: Weights, episode: Episode, steps: int) -> Tensor:
    rates = {name: torch.tensor(run.rate, dtype=torch.float64) for name in meta}
    return _descent(run, meta, episode, steps, rates)


def fomaml(run: Run, meta: Weights, episode: Episode, steps: int) -> Tensor:
    rates = {name: torch.tensor(run.rate, dtype=torch.float64) for name in meta}
    return _descent(run, meta, episode, steps, rates, graph=False)


def meta_sgd(run: Run, meta: Weights, episode: Episode, steps: int) -> Tensor:
    weights = network_of(run, meta)
    return _descent(run, weights, episode, steps, {name: meta[f"rate/{name}"] for name in weights})


def _only(head_moves: bool) -> Outputs:
    def outputs(run: Run, meta: Weights, episode: Episode, steps: int) -> Tensor:
        rates = {
            name: value.new_tensor(run.rate if (name in HEAD) == head_moves else 0.0)
            for name, value in meta.items()
        }
        return _descent(run, meta, episode, steps, rates)

    return outputs


anil, boil = _only(head_moves=True), _only(head_moves=False)


def _trained(run: Run, start: Weights, batch: tuple[Tensor, Tensor], steps: int) -> Weights:
    weights = leaves(start)
    for _ in range(steps):
        gradients = gradients_of(run.case.support_loss(weights, batch), weights)
        moved = {name: value - run.rate * gradients[name] for name, value in weights.items()}
        weights = leaves(moved)
    return weights


def reptile(run: Run) -> tuple[Weights, Weights]:
    """Initialization minus the mean of where gradient descent on all examples ends."""
    ends: list[Weights] = []
    for episode in run.one_by_one():
        support, query = episode.support, episode.query
        batch = (torch.cat([support[0], query[0]]), torch.cat([support[1], query[1]]))
        ends.append(_trained(run, run.meta, batch, run.steps))
    direction = {
        name: (value - torch.stack([end[name] for end in ends]).mean(0)).detach()
        for name, value in run.meta.items()
    }
    return direction, run.state


def pretrain(run: Run) -> tuple[Weights, Weights]:
    """Gradient of the mean over episodes of the loss on all of an episode's examples.

    Batch normalization is by the examples of one episode; running statistics move to the means over
    episodes. Labels of classification are replaced by the ids of their classes.
    """
    of_classes = run.case.ways is not None
    found: list[Moments] = []

    def loss_of(weights: Weights, episode: Episode) -> Tensor:
        inputs = torch.cat([episode.support[0], episode.query[0]])
        targets = torch.cat([episode.support[1], episode.query[1]])
        passed = run.case.forward(weights, inputs)
        found.append(passed.moments)
        return run.case.loss(passed.outputs, episode.classes[targets] if of_classes else targets)

    gradients = of_mean(run, loss_of)
    after = dict(run.state)
    # A network that is fine-tuned whole has no use for running statistics, and keeps none.
    for layer in found[0] if of_classes else ():
        for i, kind in enumerate(("mean", "variance")):
            key = f"{layer}/{kind}"
            value = torch.stack([moments[layer][i] for moments in found]).mean(0)
            after[key] = 0.9 * run.state[key] + 0.1 * value.detach()
    return gradients, after


def scratch(run: Run, meta: Weights, episode: Episode, steps: int) -> Tensor:
    """Steps of Adam, one parameter after the other."""
    rate, momentum, decay = (
        float(run.hyper[name]) for name in ("inner_lr", "inner_momentum", "inner_decay")
    )
    weights = leaves(meta)
    first = {name: torch.zeros_like(value) for name, value in weights.items()}
    second = {name: torch.zeros_like(value) for name, value in weights.items()}
    for step in range(1, steps + 1):
        gradients = gradients_of(run.case.support_loss(weights, episode.support), weights)
        moved = {}
        for name, gradient in gradients.items():
            first[name] = momentum * first[name] + (1 - momentum) * gradient
            second[name] = decay * second[name] + (1 - decay) * gradient**2
            mean, square = first[name] / (1 - momentum**step), second[name] / (1 - decay**step)
            moved[name] = weights[name].detach() - rate * mean / (square + 1e-8).sqrt()
        weights = leaves(moved)
    return run.case.query_pass(weights, episode.support, episode.query[0])


def nothing(run: Run) -> tuple[Weights, Weights]:
    return {name: torch.zeros_like(value) for name, value in run.meta.items()}, run.state


def pretrained(run: Run, meta: Weights, episode: Episode, steps: int) -> Tensor:
    """Fine-tune: all of a regressor; of a classifier a new head, zero at first."""
    if run.case.ways is None:
        weights = _trained(run, meta, episode.support, steps)
        return run.case.query_pass(weights, episode.support, episode.query[0])
    statistics: Moments | None = None
    if run.case.batch_normalized and not run.case.transductive:
        layers = [key.removesuffix("/mean") for key in run.state if key.endswith("/mean")]
        statistics = {
            layer: (run.state[f"{layer}/mean"], run.state[f"{layer}/variance"]) for layer in layers
        }
    body = {name: value for name, value in meta.items() if name not in HEAD}
    features = run.case.forward(body, episode.support[0], statistics).features.detach()
    weight = torch.zeros(run.case.ways, features.shape[1], dtype=features.dtype)
    bias = torch.zeros(run.case.ways, dtype=features.dtype)
    for _ in range(steps):
        head = leaves({"weight": weight, "bias": bias})
        logits = features @ head["weight"].T + head["bias"]
        gradients = gradients_of(run.case.loss(logits, episode.support[1]), head)
        weight = weight - run.rate * gradients["weight"]
        bias = bias - run.rate * gradients["bias"]
    queries = run.case.forward(body, episode.query[0], statistics).features
    return queries @ weight.T + bias

"""iMAML, with conjugate gradients on one flat vector, or with the Hessian written out."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from tests.algorithms.reference.networks import Weights
from tests.algorithms.reference.run import Episode, Run, gradients_of, leaves

Solve = Callable[[Callable[[Tensor], Tensor], Tensor], Tensor]


def flat(weights: Weights) -> Tensor:
    return torch.cat([value.reshape(-1) for value in weights.values()])


def proximal_descent(run: Run, meta: Weights, episode: Episode, steps: int) -> Weights:
    """Descend on the support loss plus strength / 2 times the squared distance from `meta`."""
    strength = float(run.hyper["proximal_strength"])
    weights = leaves(meta)
    for _ in range(steps):
        distance = sum(((weights[name] - meta[name]) ** 2).sum() for name in weights)
        loss = run.case.support_loss(weights, episode.support) + strength / 2 * distance
        gradients = gradients_of(loss, weights)
        weights = leaves({n: value - run.rate * gradients[n] for n, value in weights.items()})
    return weights


def outputs(run: Run, meta: Weights, episode: Episode, steps: int) -> Tensor:
    ended = proximal_descent(run, meta, episode, steps)
    return run.case.query_pass(ended, episode.support, episode.query[0])


def conjugate_gradients(product: Callable[[Tensor], Tensor], right: Tensor, steps: int) -> Tensor:
    x = torch.zeros_like(right)
    r = right.clone()
    p = right.clone()
    for _ in range(steps):
        if float(r @ r) == 0:
            break
        Ap = product(p)  # noqa: N806
        alpha = (r @ r) / (p @ Ap)
        x = x + alpha * p
        rest = r - alpha * Ap
        p = rest + (rest @ rest) / (r @ r) * p
        r = rest
    return x


def imaml(run: Run) -> tuple[Weights, Weights]:
    def solve(product: Callable[[Tensor], Tensor], right: Tensor) -> Tensor:
        return conjugate_gradients(product, right, int(run.hyper["cg_steps"]))

    return _implicit(run, solve)


def imaml_dense(run: Run) -> tuple[Weights, Weights]:
    """Write the matrix out, a column at a time, and solve."""

    def solve(product: Callable[[Tensor], Tensor], right: Tensor) -> Tensor:
        columns = [product(unit) for unit in torch.eye(len(right), dtype=right.dtype)]
        return torch.linalg.solve(torch.stack(columns, 1), right)

    return _implicit(run, solve)


def _implicit(run: Run, solve: Solve) -> tuple[Weights, Weights]:
    directions: list[Tensor] = []
    for episode in run.one_by_one():
        ended = proximal_descent(run, run.meta, episode, run.steps)
        directions.append(implicit_direction(run, ended, episode, solve))
    mean, result = torch.stack(directions).mean(0), {}
    for name, value in run.meta.items():
        result[name], mean = mean[: value.numel()].view_as(value), mean[value.numel() :]
    return result, run.state


def implicit_direction(run: Run, ended: Weights, episode: Episode, solve: Solve) -> Tensor:
    """Return (I + H / strength)^-1 g at the end of an inner loop, as one vector."""
    strength, case = float(run.hyper["proximal_strength"]), run.case
    found = case.query_pass(ended, episode.support, episode.query[0])
    right = flat(gradients_of(case.loss(found, episode.query[1]), ended))
    slope = flat(gradients_of(case.support_loss(ended, episode.support), ended, graph=True))

    def product(v: Tensor) -> Tensor:
        found = torch.autograd.grad(slope @ v, list(ended.values()), retain_graph=True)
        return v + torch.cat([part.reshape(-1) for part in found]) / strength

    return solve(product, right)

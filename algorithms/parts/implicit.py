"""The implicit meta-gradient of iMAML: a linear system instead of a path of derivatives."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from algorithms.algorithm import Adapted, Diagnostics, Hyper, MetaGradients
from algorithms.parts.axis import averaged
from algorithms.parts.inner_loop import InnerLoop
from algorithms.parts.meta import diagnose, leaves, steps_of
from episodes.episode import Episodes
from networks.network import Params, Statistics


def conjugate_gradients(product: Callable[[Tensor], Tensor], right: Tensor, steps: int) -> Tensor:
    """Solve A x = b for each of T episodes by `steps` steps of conjugate gradients from zero.

    product: (T, P) -> (T, P), each row by its own symmetric positive definite matrix.
    right: b, (T, P). An episode whose residual is exactly zero stays where it is.
    Hestenes and Stiefel 1952; Rajeswaran et al. 2019, arXiv:1909.04630, algorithm 2.
    """
    solution = torch.zeros_like(right)
    residual = direction = right
    size = residual.square().sum(1, keepdim=True)
    for _ in range(steps):
        curved = product(direction)
        length = _ratio(size, (direction * curved).sum(1, keepdim=True))
        solution = solution + length * direction
        residual = residual - length * curved
        smaller = residual.square().sum(1, keepdim=True)
        direction = residual + _ratio(smaller, size) * direction
        size = smaller
    return solution


def implicitly(inner: InnerLoop) -> MetaGradients:
    """Return `meta_gradients`: (I + H / strength)^-1 times the query gradient, at a loop's end.

    Rajeswaran et al. 2019, equation 6; H is the Hessian of the support loss, and `cg_steps` steps
    of conjugate gradients solve the system. How the loop got there is of no account.
    """
    network, objective = inner.network, inner.objective

    def meta_gradients(
        meta: Params, state: Params, hyper: Hyper, episodes: Episodes, keys: Tensor
    ) -> tuple[Params, Params, Diagnostics]:
        support, query = episodes.support, episodes.query
        with torch.no_grad():
            loop = inner.adapt(meta, state, hyper, support, steps_of(hyper), keys).loop
        assert loop is not None
        fast = leaves(loop.fast)
        with torch.enable_grad():
            statistics: Statistics | None = None
            if inner.collects:
                statistics = network.features(fast, support.inputs, collect=True)[1]
            outputs = inner.predict(meta, state, Adapted(fast, statistics), query.inputs)
            query_loss = objective.loss.per_episode(outputs, query.targets).sum()
            losses, _ = inner.loss(meta, support, fast, loop.taken)
            slopes = torch.autograd.grad(losses.sum(), list(fast.values()), create_graph=True)
        right = _flat(torch.autograd.grad(query_loss, list(fast.values())))
        strength = torch.as_tensor(hyper["proximal_strength"]).reshape(-1, 1)

        def product(vector: Tensor) -> Tensor:
            parts = _like(vector, list(fast.values()))
            found = torch.autograd.grad(slopes, list(fast.values()), parts, retain_graph=True)
            return vector + _flat(found) / strength

        solution = conjugate_gradients(product, right, int(hyper["cg_steps"]))
        parts = _like(solution, list(fast.values()))
        directions = {
            name: averaged(part, like=meta[name]) for name, part in zip(fast, parts, strict=True)
        }
        return directions, state, diagnose(objective, outputs, query.targets)

    return meta_gradients


def _flat(values: tuple[Tensor, ...]) -> Tensor:
    return torch.cat([value.flatten(1) for value in values], 1)


def _like(vector: Tensor, values: list[Tensor]) -> list[Tensor]:
    sizes = [value[0].numel() for value in values]
    parts = zip(vector.split(sizes, 1), values, strict=True)
    return [part.view_as(value) for part, value in parts]


def _ratio(over: Tensor, under: Tensor) -> Tensor:
    return torch.where(under == 0, torch.zeros_like(over), over / under)

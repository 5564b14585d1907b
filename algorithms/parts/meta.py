"""Meta-gradients by differentiating the query loss, as algorithms with a differentiable loop do."""

from __future__ import annotations

import torch
from torch import Tensor

from algorithms.algorithm import (
    Adapt,
    Adapted,
    Diagnostics,
    Hyper,
    MetaGradients,
    Objective,
    Predict,
)
from episodes.episode import Episodes
from networks.network import Params


def steps_of(hyper: Hyper) -> int:
    """Return the number of inner steps at meta-train."""
    return int(hyper["inner_steps"])


def diagnose(objective: Objective, outputs: Tensor, targets: Tensor) -> Diagnostics:
    """Return the (T,) query loss, and the accuracy where there is one."""
    diagnostics = {"query_loss": objective.loss.per_episode(outputs, targets).detach()}
    if objective.loss.accuracy is not None:
        diagnostics["query_accuracy"] = objective.loss.accuracy(outputs.detach(), targets)
    return diagnostics


def leaves(meta: Params) -> Params:
    """Return the same values as leaves that can be differentiated."""
    return {name: value.detach().requires_grad_() for name, value in meta.items()}


def gradients_of(loss: Tensor, params: Params) -> Params:
    """Return d loss / d params by name, zeros where the loss does not depend on one."""
    gradients = torch.autograd.grad(
        loss, list(params.values()), allow_unused=True, materialize_grads=True
    )
    return dict(zip(params, gradients, strict=True))


def through_query_loss(adapt: Adapt, predict: Predict, objective: Objective) -> MetaGradients:
    """Return `meta_gradients`: d/d meta of the mean query loss after adaptation.

    Finn et al. 2017, algorithm 1, line 8. Of first or second order as `adapt` is.
    """

    def meta_gradients(
        meta: Params, state: Params, hyper: Hyper, episodes: Episodes, rng: torch.Generator
    ) -> tuple[Params, Params, Diagnostics]:
        meta = leaves(meta)
        adapted: Adapted = adapt(meta, state, hyper, episodes.support, steps_of(hyper), rng)
        outputs = predict(meta, state, adapted, episodes.query.inputs)
        loss = objective.loss.per_episode(outputs, episodes.query.targets).mean()
        diagnostics = diagnose(objective, outputs, episodes.query.targets)
        return gradients_of(loss, meta), state, diagnostics

    return meta_gradients

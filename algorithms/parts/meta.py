"""Meta-gradients through a query loss, after the last inner step or after each of them."""

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
from algorithms.parts.per_step import SEEN, moved
from episodes.episode import Episodes
from networks.network import Params

LEAST_WEIGHT = 0.03
"""Of a step before the last, as a share of an equal weight, until the annealing ends."""


def steps_of(hyper: Hyper) -> int:
    """Return the number of inner steps at meta-train."""
    return int(hyper.get("inner_steps", 0))


def diagnose(objective: Objective, outputs: Tensor, targets: Tensor) -> Diagnostics:
    """Return the (T,) query loss, and the score where there is one."""
    diagnostics = {"query_loss": objective.loss.per_episode(outputs, targets).detach()}
    if objective.loss.score is not None:
        diagnostics[f"query_{objective.loss.name}"] = objective.loss.score(
            outputs.detach(), targets
        )
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


def multi_step_weights(steps: int, share: Tensor) -> list[Tensor]:
    """Return the weight of the query loss after each of `steps` steps; they add up to 1.

    share: how much of the annealing is done, 0 (equal weights) to 1 (the last step alone counts).
    Antoniou et al. 2019, arXiv:1810.09502, section 4, "multi-step loss optimization", and their
    code.
    """
    equal = 1 / steps
    early = torch.clamp((1 - share) * equal, min=LEAST_WEIGHT * equal) * (share < 1)
    return [early] * (steps - 1) + [1 - (steps - 1) * early]


def through_query_loss(
    adapt: Adapt, predict: Predict, objective: Objective, *, every_step: bool = False
) -> MetaGradients:
    """Return `meta_gradients`: d/d meta of the mean query loss after adaptation.

    Finn et al. 2017, algorithm 1, line 8. Of first or second order as `adapt` is.
    every_step: weigh the query losses after each step instead, by `multi_step_weights`; the
        annealing takes the share "multi_step_share" of the training budget.
    """

    def losses_after(
        meta: Params, state: Params, hyper: Hyper, episodes: Episodes, keys: Tensor
    ) -> tuple[Tensor, Tensor, Adapted]:
        """Return the (T,) loss to minimize, the outputs after the last step, what adapted."""
        steps = steps_of(hyper)
        support, query = episodes.support, episodes.query
        if not every_step or steps < 2:
            adapted = adapt(meta, state, hyper, support, steps, keys)
            outputs = predict(meta, state, adapted, query.inputs)
            return objective.loss.per_episode(outputs, query.targets), outputs, adapted
        progress = torch.as_tensor(hyper.get("progress", 1.0))
        share = (progress / torch.as_tensor(hyper["multi_step_share"])).clamp(max=1.0)
        total: Tensor | float = 0.0
        after: Adapted | None = None
        for weight in multi_step_weights(steps, share):
            after = adapt(meta, state, hyper, support, 1, keys, after)
            outputs = predict(meta, state, after, query.inputs)
            losses = objective.loss.per_episode(outputs, query.targets)
            total = total + weight.to(losses.dtype) * losses
        assert after is not None
        assert isinstance(total, Tensor)
        return total, outputs, after

    def meta_gradients(
        meta: Params, state: Params, hyper: Hyper, episodes: Episodes, keys: Tensor
    ) -> tuple[Params, Params, Diagnostics]:
        meta = leaves(meta)
        losses, outputs, adapted = losses_after(meta, state, hyper, episodes, keys)
        diagnostics = diagnose(objective, outputs, episodes.query.targets)
        if SEEN in state and adapted.loop is not None:
            state = moved(state, adapted.loop.observed)
        return gradients_of(losses.mean(), meta), state, diagnostics

    return meta_gradients

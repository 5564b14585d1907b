"""Meta-gradients through a query loss, after the last inner step or after each of them."""

from __future__ import annotations

from collections.abc import Mapping

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
from algorithms.parts.queries import Pull, at_once, pull
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
    adapt: Adapt,
    predict: Predict,
    objective: Objective,
    *,
    every_step: bool = False,
    ranks: Mapping[str, int] | None = None,
) -> MetaGradients:
    """Return `meta_gradients`: d/d meta of the mean query loss after adaptation.

    Finn et al. 2017, algorithm 1, line 8. Of first or second order as `adapt` is.
    every_step: weigh the query losses after each step instead, by `multi_step_weights`; the
        annealing takes the share "multi_step_share" of the training budget.
    ranks: axes of each of the network's parameters, where `predict` depends on what adapted alone;
        then query sets may pass a few at a time, see `algorithms.parts.queries`.
    """

    def schedule(hyper: Hyper) -> list[tuple[Tensor, int]]:
        """Return the weight of each query loss, and the steps before it."""
        steps = steps_of(hyper)
        if not every_step or steps < 2:
            return [(torch.ones(()), steps)]
        progress = torch.as_tensor(hyper.get("progress", 1.0))
        share = (progress / torch.as_tensor(hyper["multi_step_share"])).clamp(max=1.0)
        return [(weight, 1) for weight in multi_step_weights(steps, share)]

    def losses_after(
        meta: Params, state: Params, hyper: Hyper, episodes: Episodes, keys: Tensor
    ) -> tuple[Tensor, Tensor, Adapted]:
        """Return the (T,) loss to minimize, the outputs after the last step, what adapted."""
        support, query = episodes.support, episodes.query
        total: Tensor | float = 0.0
        after: Adapted | None = None
        planned = schedule(hyper)
        for weight, steps in planned:
            after = adapt(meta, state, hyper, support, steps, keys, after)
            outputs = predict(meta, state, after, query.inputs)
            losses = objective.loss.per_episode(outputs, query.targets)
            if len(planned) == 1:
                return losses, outputs, after
            total = total + weight.to(losses.dtype) * losses
        assert after is not None
        assert isinstance(total, Tensor)
        return total, outputs, after

    def piecewise(
        meta: Params, state: Params, hyper: Hyper, episodes: Episodes, keys: Tensor, size: int
    ) -> tuple[Params, Tensor, Adapted]:
        """Return the gradients, the outputs after the last step, what adapted."""
        assert ranks is not None
        after: Adapted | None = None
        losses = Pull()
        for weight, steps in schedule(hyper):
            after = adapt(meta, state, hyper, episodes.support, steps, keys, after)
            outputs = pull(predict, objective, ranks, state, after, episodes, weight, size, losses)
        assert after is not None
        return losses.back_to(meta), outputs, after

    def meta_gradients(
        meta: Params, state: Params, hyper: Hyper, episodes: Episodes, keys: Tensor
    ) -> tuple[Params, Params, Diagnostics]:
        meta = leaves(meta)
        size = None if ranks is None else at_once(len(episodes))
        if size is not None:
            gradients, outputs, adapted = piecewise(meta, state, hyper, episodes, keys, size)
        else:
            losses, outputs, adapted = losses_after(meta, state, hyper, episodes, keys)
            gradients = gradients_of(losses.mean(), meta)
        diagnostics = diagnose(objective, outputs, episodes.query.targets)
        if SEEN in state and adapted.loop is not None:
            state = moved(state, adapted.loop.observed)
        return gradients, state, diagnostics

    return meta_gradients

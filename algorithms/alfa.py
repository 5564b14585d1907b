"""ALFA: a small network generates each inner step's rates and weight decays."""

from __future__ import annotations

import torch
from torch import Tensor

from algorithms.algorithm import Adapted, Algorithm, Hyper, Loop, Objective
from algorithms.parts.axis import requires_grad
from algorithms.parts.inner_loop import InnerLoop, differentiable
from algorithms.parts.meta import through_query_loss
from algorithms.recipe import Recipe
from episodes.episode import Examples
from networks.initialization import linear_parameters
from networks.layers import linear
from networks.network import Network, Params

RATE, DECAY, GENERATOR = "rate/", "decay/", "generator/"
LAYERS = ("layer1", "layer2")


def alfa(network: Network, objective: Objective) -> Algorithm:
    """Build ALFA with MAML's initialization (Baik et al. 2020, arXiv:2011.00209, algorithm 1).

    theta' = (1 - beta) theta - alpha gradient, with alpha and beta of each parameter tensor the
    product of a learned value for the step and of one that a network of two layers generates from
    the means of the tensors and of their gradients (sections 3.2 and 3.3). As in the paper's code,
    the generator sees gradients as constants. Not a point in the table of parts: its rates depend
    on the episode. Meta-parameters: the network's; "rate/<parameter>" and "decay/<parameter>",
    (inner_steps,); "generator/...". Hyperparameters: `inner_lr`, `inner_steps`,
    `inner_weight_decay`.
    """
    inner = InnerLoop(network, objective, Recipe())
    names = inner.moving

    def init(hyper: Hyper, rng: torch.Generator) -> tuple[Params, Params]:
        meta, state = inner.init(hyper, rng)
        steps, size = int(hyper["inner_steps"]), 2 * len(names)
        rate = torch.as_tensor(hyper["inner_lr"])
        decay = rate * torch.as_tensor(hyper["inner_weight_decay"])
        meta |= {RATE + name: rate.expand(steps).clone() for name in names}
        meta |= {DECAY + name: decay.expand(steps).clone() for name in names}
        for layer in LAYERS:
            weight, bias = linear_parameters(size, size, rng)
            meta[f"{GENERATOR}{layer}.weight"] = weight.to(rate.dtype)
            meta[f"{GENERATOR}{layer}.bias"] = bias.to(rate.dtype)
        return meta, state

    def generated(meta: Params, fast: list[Tensor], gradients: list[Tensor]) -> list[Tensor]:
        """Return a factor (T,) of each rate, then of each decay."""
        means = [value.flatten(1).mean(1) for value in (*fast, *gradients)]
        hidden = torch.stack(means, 1).unsqueeze(1)
        for layer in LAYERS:
            if layer != LAYERS[0]:
                hidden = torch.relu(hidden)
            name = GENERATOR + layer
            hidden = linear(meta[f"{name}.weight"], meta[f"{name}.bias"], hidden)
        return list(hidden.squeeze(1).unbind(1))

    def at(value: Tensor, step: int) -> Tensor:
        return value[..., min(step, value.shape[-1] - 1)]

    def adapt(
        meta: Params,
        state: Params,
        hyper: Hyper,
        support: Examples,
        steps: int,
        keys: Tensor,
        start: Adapted | None = None,
    ) -> Adapted:
        loop = inner.begin(meta, support, start)
        for _ in range(steps):
            with torch.enable_grad():
                points = {name: differentiable(value) for name, value in loop.fast.items()}
                losses, _ = inner.loss(meta, support, points, loop.taken)
                gradients = torch.autograd.grad(
                    losses.sum(), [points[name] for name in names], create_graph=requires_grad(meta)
                )
            fast = dict(loop.fast)
            factors = generated(
                meta, [fast[name] for name in names], [gradient.detach() for gradient in gradients]
            )
            for i, (name, gradient) in enumerate(zip(names, gradients, strict=True)):
                rate = at(meta[RATE + name], loop.taken) * factors[i]
                decay = at(meta[DECAY + name], loop.taken) * factors[len(names) + i]
                shape = (-1, *[1] * (gradient.dim() - 1))
                fast[name] = (1 - decay.view(shape)) * fast[name] - rate.view(shape) * gradient
            loop = Loop(loop.origin, fast, loop.slots, loop.taken + 1)
        return inner.end(meta, state, support, loop)

    gradients = through_query_loss(adapt, inner.predict, objective, ranks=inner.ranks)
    return Algorithm("alfa", init, adapt, inner.predict, gradients)

"""Scales, shifts and statistics of normalization of their own at every inner step (MAML++)."""

from __future__ import annotations

import torch

from algorithms.algorithm import Hyper
from algorithms.parts.axis import averaged
from algorithms.parts.layers import NORMALIZING, normalization_layers
from networks.network import Network, Params, Statistics

STEP, RUNNING = "step/", "running/"
SEEN = RUNNING + "seen"
MOMENTUM = 0.1


def step_parameters(network: Network, weights: Params, hyper: Hyper) -> Params:
    """Return "step/<layer>.scale" and ".shift", (inner_steps, channels), as meta-parameters."""
    steps = int(hyper["inner_steps"])
    return {
        f"{STEP}{layer}.{kind}": weights[f"{layer}.{kind}"].repeat(steps, 1)
        for layer in normalization_layers(network)
        for kind in NORMALIZING
    }


def at_step(meta: Params, step: int) -> Params:
    """Return the scales and shifts of a step, by the parameters they stand in for."""
    found = {}
    for key, value in meta.items():
        if key.startswith(STEP):
            last = value.shape[-2] - 1
            found[key.removeprefix(STEP)] = value[..., min(step, last), :]
    return found


def no_statistics(network: Network, hyper: Hyper) -> Params:
    """Return a state of empty running statistics, (inner_steps, channels) by layer."""
    if not network.batch_normalized:
        return {}
    steps = int(hyper["inner_steps"])
    state = {SEEN: torch.zeros(())}
    for layer in normalization_layers(network):
        for kind in ("mean", "variance"):
            size = network.shapes[f"{layer}.scale"][-1]
            state[f"{RUNNING}{layer}/{kind}"] = torch.zeros(steps, size)
    return state


def stored_statistics(state: Params, step: int) -> Statistics:
    """Return the running statistics of a step; means 0 and variances 1 before any were seen.

    The average is corrected for its start at zero (as in Kingma and Ba 2015, section 3).
    """
    seen = state[SEEN]
    shape = (*seen.shape, 1)
    unseen = (seen == 0).reshape(shape)
    weight = torch.where(unseen, torch.ones_like(seen).reshape(shape), seen.reshape(shape))
    found: Statistics = {}
    for key, means in state.items():
        if key.endswith("/mean"):
            layer = key.removeprefix(RUNNING).removesuffix("/mean")
            at = min(step, means.shape[-2] - 1)
            mean = means[..., at, :] / weight
            variance = state[f"{RUNNING}{layer}/variance"][..., at, :] / weight + unseen
            found[layer] = mean, variance
    return found


def moved(state: Params, observed: tuple[Statistics, ...]) -> Params:
    """Return the running statistics after those of a batch at each of its inner steps."""
    after = dict(state)
    after[SEEN] = torch.lerp(state[SEEN], torch.ones_like(state[SEEN]), MOMENTUM)
    for layer in observed[0]:
        for index, kind in enumerate(("mean", "variance")):
            key = f"{RUNNING}{layer}/{kind}"
            now = torch.stack([step[layer][index] for step in observed], 1).detach()
            shared = state[key].dim() < now.dim()
            after[key] = torch.lerp(
                state[key], averaged(now, state[key]) if shared else now, MOMENTUM
            )
    return after

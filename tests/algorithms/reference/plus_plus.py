"""MAML++: rates, scales, shifts and statistics of each step; losses after each step."""

from __future__ import annotations

import torch
from torch import Tensor

from tests.algorithms.reference.networks import Moments, Weights
from tests.algorithms.reference.run import (
    Episode,
    Run,
    gradients_of,
    layer_of,
    network_of,
    of_mean,
)


def at_step(run: Run, meta: Weights, step: int) -> Weights:
    """Return the scales and shifts of a step; beyond the last, the last one's."""
    at = min(step, run.steps - 1)
    return {k.removeprefix("step/"): v[at] for k, v in meta.items() if k.startswith("step/")}


def running(run: Run, step: int) -> Moments:
    """Return a step's running moments, without their start at zero; 0 and 1 if none were seen."""
    at, seen = min(step, run.steps - 1), float(run.state["running/seen"])
    found: Moments = {}
    for key, means in run.state.items():
        if key.endswith("/mean"):
            layer = key.removeprefix("running/").removesuffix("/mean")
            variances = run.state[f"running/{layer}/variance"]
            if seen == 0:
                found[layer] = torch.zeros_like(means[at]), torch.ones_like(variances[at])
            else:
                found[layer] = means[at] / seen, variances[at] / seen
    return found


def query_outputs(run: Run, weights: Weights, episode: Episode, step: int) -> Tensor:
    """Return outputs on the queries of weights that took part in this step."""
    if "running/seen" in run.state:
        return run.case.forward(weights, episode.query[0], running(run, step)).outputs
    return run.case.query_pass(weights, episode.support, episode.query[0])


def loss_weights(run: Run) -> list[float]:
    """Weigh steps alike at first, then the last one more and more, in the end alone."""
    steps = run.steps
    if steps == 1:
        return [1.0]
    done = min(1.0, float(run.hyper["progress"]) / float(run.hyper["multi_step_share"]))
    early = 0.0 if done == 1 else max(1 / steps * (1 - done), 0.03 / steps)
    return [early] * (steps - 1) + [1 - early * (steps - 1)]


def _outputs_after_each(
    run: Run, meta: Weights, episode: Episode, steps: int
) -> tuple[list[Tensor], list[Moments]]:
    """Return outputs before and after each step, and the support sets' moments in each step."""
    graph = float(run.hyper["progress"]) >= float(run.hyper["first_order_share"])
    weights = network_of(run, meta)
    outputs = [query_outputs(run, weights | at_step(run, meta, 0), episode, 0)]
    moments: list[Moments] = []
    for step in range(steps):
        own = at_step(run, meta, step)
        found = run.case.forward(weights | own, episode.support[0])
        moments.append(found.moments)
        gradients = gradients_of(run.case.loss(found.outputs, episode.support[1]), weights, graph)
        # Without a graph, gradients are constants already.
        rates = {name: meta[f"rate/{layer_of(name)}"] for name in weights}
        moved = {
            name: value - rates[name][min(step, run.steps - 1)] * gradients[name]
            for name, value in weights.items()
        }
        weights = moved
        outputs.append(query_outputs(run, weights | own, episode, step))
    return outputs, moments


def outputs(run: Run, meta: Weights, episode: Episode, steps: int) -> Tensor:
    return _outputs_after_each(run, meta, episode, steps)[0][-1]


def maml_plus_plus(run: Run) -> tuple[Weights, Weights]:
    seen: list[list[Moments]] = []

    def loss_of(meta: Weights, episode: Episode) -> Tensor:
        after, moments = _outputs_after_each(run, meta, episode, run.steps)
        seen.append(moments)
        losses = [run.case.loss(one, episode.query[1]) for one in after[1:]]
        weighted = [w * loss for w, loss in zip(loss_weights(run), losses, strict=True)]
        return torch.stack(weighted).sum()

    return of_mean(run, loss_of), statistics_after(run, seen)


def statistics_after(run: Run, seen: list[list[Moments]]) -> Weights:
    """Move running moments a tenth of the way to the mean over episodes of a batch's."""
    if "running/seen" not in run.state:
        return run.state
    after = {"running/seen": 0.9 * run.state["running/seen"] + 0.1}
    for layer in seen[0][0]:
        for i, kind in enumerate(("mean", "variance")):
            key = f"running/{layer}/{kind}"
            rows = [
                torch.stack([moments[step][layer][i].detach() for moments in seen]).mean(0)
                for step in range(run.steps)
            ]
            after[key] = 0.9 * run.state[key] + 0.1 * torch.stack(rows)
    return after

"""Algorithms with something learned on a gradient's way: maps, masks, matrices, a network."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx

from tests.algorithms.reference import noise
from tests.algorithms.reference.networks import Context, Weights
from tests.algorithms.reference.run import Episode, Run, gradients_of, layer_of, network_of


def t_net(run: Run, meta: Weights, episode: Episode, steps: int) -> Tensor:
    """Every layer's output goes through a map that stands still in the inner loop."""
    return _through_maps(run, meta, episode, steps, {})


def mt_net(run: Run, meta: Weights, episode: Episode, steps: int) -> Tensor:
    """T-net, where units move as far as their masks let them."""
    return _through_maps(run, meta, episode, steps, masks_of(run, meta, episode))


def maps_of(meta: Weights) -> Weights:
    return {k.removeprefix("warp/"): v for k, v in meta.items() if k.startswith("warp/")}


class _StraightThrough(torch.autograd.Function):
    """Whether a number is positive; differentiated as if its sigmoid had been taken."""

    @staticmethod
    def forward(ctx: FunctionCtx, value: Tensor) -> Tensor:
        ctx.save_for_backward(value)
        return (value > 0).to(value.dtype)

    @staticmethod
    def backward(ctx: FunctionCtx, gradient: Tensor) -> Tensor:
        (value,) = ctx.saved_tensors
        rise = 1 / (1 + torch.exp(-value))
        return gradient * rise * (1 - rise)


def masks_of(run: Run, meta: Weights, episode: Episode) -> Weights:
    """Sample zeros and ones from logits plus logistic noise, a stream a layer in order of names."""
    key, masks = noise.key(run.seed, episode.index), {}
    layers = {layer_of(name) for name in run.case.names if f"mask/{layer_of(name)}" in meta}
    for stream, layer in enumerate(sorted(layers)):
        logits = meta[f"mask/{layer}"]
        drawn = torch.tensor(noise.logistic(key, stream, len(logits)), dtype=logits.dtype)
        masks[layer] = _StraightThrough.apply(logits + drawn)
    return masks


def by_unit(mask: Tensor, gradient: Tensor) -> Tensor:
    """Multiply what belongs to each output unit by that unit's mask."""
    return torch.stack([m * g for m, g in zip(mask, gradient, strict=True)])


def _through_maps(run: Run, meta: Weights, episode: Episode, steps: int, masks: Weights) -> Tensor:
    weights, maps = network_of(run, meta), maps_of(meta)
    for _ in range(steps):
        loss = run.case.support_loss(weights, episode.support, maps=maps)
        gradients = gradients_of(loss, weights, graph=True)
        if masks:
            gradients = {n: by_unit(masks[layer_of(n)], g) for n, g in gradients.items()}
        weights = {name: value - run.rate * gradients[name] for name, value in weights.items()}
    return run.case.query_pass(weights, episode.support, episode.query[0], maps=maps)


def curved(meta: Weights, name: str, gradient: Tensor) -> Tensor:
    """Multiply each axis by its matrix, a vector by a diagonal; kernel positions are one axis."""
    matrices = [meta[f"curvature/{name}/{i}"] for i in range(min(gradient.dim(), 3))]
    if gradient.dim() == 1:
        return torch.einsum("oa,a->o", torch.diag(matrices[0]), gradient)
    if gradient.dim() == 2:
        return torch.einsum("oa,ib,ab->oi", *matrices, gradient)
    positions = gradient.flatten(2)
    return torch.einsum("oa,ib,kc,abc->oik", *matrices, positions).view_as(gradient)


def meta_curvature(run: Run, meta: Weights, episode: Episode, steps: int) -> Tensor:
    weights = network_of(run, meta)
    for _ in range(steps):
        gradients = gradients_of(run.case.support_loss(weights, episode.support), weights, True)
        weights = {
            name: value - run.rate * curved(meta, name, gradients[name])
            for name, value in weights.items()
        }
    return run.case.query_pass(weights, episode.support, episode.query[0])


def alfa(run: Run, meta: Weights, episode: Episode, steps: int) -> Tensor:
    """A network of two layers makes rates and decays of the tensors' and gradients' means."""
    weights = network_of(run, meta)
    for step in range(steps):
        gradients = gradients_of(run.case.support_loss(weights, episode.support), weights, True)
        state = [value.mean() for value in weights.values()]
        state += [gradient.detach().mean() for gradient in gradients.values()]
        first, second = "generator/layer1", "generator/layer2"
        hidden = meta[f"{first}.weight"] @ torch.stack(state) + meta[f"{first}.bias"]
        made = meta[f"{second}.weight"] @ hidden.clamp(min=0) + meta[f"{second}.bias"]
        moved = {}
        for i, (name, value) in enumerate(weights.items()):
            at = min(step, run.steps - 1)
            alpha = meta[f"rate/{name}"][at] * made[i]
            beta = meta[f"decay/{name}"][at] * made[len(weights) + i]
            moved[name] = (1 - beta) * value - alpha * gradients[name]
        weights = moved
    return run.case.query_pass(weights, episode.support, episode.query[0])


def cavia(run: Run, meta: Weights, episode: Episode, steps: int) -> Tensor:
    """Only a context moves, from zero."""
    weights = network_of(run, meta)
    matrices = {k.removeprefix("context/"): v for k, v in meta.items() if k.startswith("context/")}
    vector = torch.zeros(int(run.hyper["context_size"]), dtype=torch.float64, requires_grad=True)
    for _ in range(steps):
        loss = run.case.support_loss(weights, episode.support, context=Context(vector, matrices))
        vector = vector - run.rate * gradients_of(loss, {"it": vector}, graph=True)["it"]
    return run.case.query_pass(
        weights, episode.support, episode.query[0], context=Context(vector, matrices)
    )

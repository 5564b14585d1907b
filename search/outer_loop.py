"""The outer loop's optimizer: what turns meta-gradients into a step."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from networks.network import Params

SCHEDULES = ("constant", "linear", "cosine")
PREFIX = "optimizer/"
MOMENTUM = 0.9


def schedule(kind: str, progress: float) -> float:
    """Return the factor on `outer_lr` when a share `progress` (0 to 1) of the budget is spent."""
    if kind == "linear":
        return 1 - progress
    if kind == "cosine":
        return 0.5 * (1 + math.cos(math.pi * progress))
    return 1.0


def clipped(gradients: Params, bound: float, replicas: int | None) -> Params:
    """Scale gradients down to a norm of at most `bound`, each replica's by itself."""
    squares = [value.square() for value in gradients.values()]
    if replicas is None:
        norm = torch.stack([square.sum() for square in squares]).sum().sqrt()
    else:
        sums = [square.reshape(replicas, -1).sum(1) for square in squares]
        norm = torch.stack(sums).sum(0).sqrt()
    factor = (bound / (norm + 1e-6)).clamp(max=1.0)
    return {
        name: value * factor.reshape(-1, *[1] * (value.dim() - 1)) if replicas else value * factor
        for name, value in gradients.items()
    }


class OuterLoop:
    """A torch optimizer over a dictionary of tensors, which it updates in place.

    Hyperparameters: `outer_optimizer` ("adam", "adamw", "sgd", or "momentum": SGD with momentum
    0.9), `outer_lr`, `outer_schedule`, `clip_norm` (bound on the norm of the whole meta-gradient; 0
    for none), `weight_decay` (as torch means it: decoupled in adamw, a part of the gradient in the
    others).
    replicas: how many have a leading axis of `meta` to themselves; None where there is none. Every
        step is elementwise, so that each replica moves as it would alone.
    """

    def __init__(self, meta: Params, hyper: Mapping[str, Any], replicas: int | None = None):
        self.meta = meta
        self._replicas = replicas
        self._rate = float(hyper["outer_lr"])
        self._schedule = str(hyper["outer_schedule"])
        self._clip_norm = float(hyper["clip_norm"])
        values = list(meta.values())
        decay = float(hyper.get("weight_decay", 0.0))
        name = str(hyper["outer_optimizer"])
        self._optimizer: torch.optim.Optimizer
        if name in ("sgd", "momentum"):
            momentum = MOMENTUM if name == "momentum" else 0.0
            self._optimizer = torch.optim.SGD(
                values, lr=self._rate, momentum=momentum, weight_decay=decay
            )
        else:
            adam = torch.optim.AdamW if name == "adamw" else torch.optim.Adam
            self._optimizer = adam(values, lr=self._rate, weight_decay=decay, fused=True)

    def step(self, gradients: Params, progress: float) -> None:
        """Take one step against `gradients`."""
        if self._clip_norm > 0:
            gradients = clipped(gradients, self._clip_norm, self._replicas)
        for name, value in self.meta.items():
            value.grad = gradients[name]
        for group in self._optimizer.param_groups:
            group["lr"] = self._rate * schedule(self._schedule, progress)
        self._optimizer.step()

    def tensors(self) -> dict[str, Tensor]:
        """Return copies of the optimizer's state, named "optimizer/<slot>/<parameter>"."""
        state = self._optimizer.state
        return {
            f"{PREFIX}{slot}/{name}": torch.as_tensor(content).detach().clone()
            for name, value in self.meta.items()
            for slot, content in state[value].items()
            if content is not None
        }

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Take over what `tensors` returned."""
        for key, content in tensors.items():
            if key.startswith(PREFIX):
                slot, _, name = key.removeprefix(PREFIX).partition("/")
                value = self.meta[name]
                # Fused Adam counts its steps where the parameters are.
                self._optimizer.state[value][slot] = content.to(value.device, copy=True)

"""The outer loop's optimizer: what turns meta-gradients into a step."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.optim.adam import adam
from torch.optim.sgd import sgd

from networks.network import Params

SCHEDULES = ("constant", "linear", "cosine")
PREFIX = "optimizer/"
MOMENTUM, BUFFER = 0.9, "momentum_buffer"
BETAS, EPSILON = (0.9, 0.999), 1e-8


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
    """A torch optimizer over a dictionary of contiguous tensors, which it updates in place.

    Hyperparameters: `outer_optimizer` ("adam", "adamw", "sgd", or "momentum": SGD with momentum
    0.9), `outer_lr`, `outer_schedule`, `clip_norm` (bound on the norm of the whole meta-gradient; 0
    for none), `weight_decay` (as torch means it: decoupled in adamw, a part of the gradient in the
    others).
    replicas: how many have a leading axis of `meta` to themselves; None where there is none. Every
        step is elementwise, so that each replica moves as it would alone.

    It steps by the functions behind torch's optimizers: the first optimizer that is made of a
    class imports torch's compiler, which takes each process of a trial a second.
    """

    def __init__(self, meta: Params, hyper: Mapping[str, Any], replicas: int | None = None):
        self.meta = meta
        self._replicas = replicas
        self._rate = float(hyper["outer_lr"])
        self._schedule = str(hyper["outer_schedule"])
        self._clip_norm = float(hyper["clip_norm"])
        self._decay = float(hyper.get("weight_decay", 0.0))
        self._name = str(hyper["outer_optimizer"])
        self._slots: dict[str, Params] = {}

    @torch.no_grad()
    def step(self, gradients: Params, progress: float) -> None:
        """Take one step against `gradients`."""
        if self._clip_norm > 0:
            gradients = clipped(gradients, self._clip_norm, self._replicas)
        values = list(self.meta.values())
        # Fused Adam goes through memory in order on a CPU, whatever the strides: what autograd
        # returns transposed, or in channels last, would move other entries than its own.
        ordered = [gradients[name].contiguous() for name in self.meta]
        rate = self._rate * schedule(self._schedule, progress)
        if self._name in ("sgd", "momentum"):
            self._step_sgd(values, ordered, rate)
        else:
            self._step_adam(values, ordered, rate)

    def _step_adam(self, values: list[Tensor], gradients: list[Tensor], rate: float) -> None:
        if not self._slots:
            # Fused Adam counts its steps where the parameters are.
            steps = [torch.zeros((), dtype=torch.float32, device=value.device) for value in values]
            self._keep("step", steps)
            for slot in ("exp_avg", "exp_avg_sq"):
                self._keep(slot, [torch.zeros_like(value) for value in values])
        adam(
            values,
            gradients,
            self._slot("exp_avg"),
            self._slot("exp_avg_sq"),
            [],
            self._slot("step"),
            fused=True,
            decoupled_weight_decay=self._name == "adamw",
            amsgrad=False,
            beta1=BETAS[0],
            beta2=BETAS[1],
            lr=rate,
            weight_decay=self._decay,
            eps=EPSILON,
            maximize=False,
        )

    def _step_sgd(self, values: list[Tensor], gradients: list[Tensor], rate: float) -> None:
        has_momentum = self._name == "momentum"
        buffers: list[Tensor | None] = [None] * len(values)
        if has_momentum and self._slots:
            buffers = [*self._slot(BUFFER)]
        sgd(
            values,
            gradients,
            buffers,  # The first step fills it in.
            weight_decay=self._decay,
            momentum=MOMENTUM if has_momentum else 0.0,
            lr=rate,
            dampening=0.0,
            nesterov=False,
            maximize=False,
        )
        if has_momentum:
            self._keep(BUFFER, [buffer for buffer in buffers if buffer is not None])

    def _slot(self, slot: str) -> list[Tensor]:
        return [self._slots[slot][name] for name in self.meta]

    def _keep(self, slot: str, tensors: list[Tensor]) -> None:
        self._slots[slot] = dict(zip(self.meta, tensors, strict=True))

    def tensors(self) -> dict[str, Tensor]:
        """Return copies of the optimizer's state, named "optimizer/<slot>/<parameter>"."""
        return {
            f"{PREFIX}{slot}/{name}": content.detach().clone()
            for slot, named in self._slots.items()
            for name, content in named.items()
        }

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Take over what `tensors` returned."""
        for key, content in tensors.items():
            if key.startswith(PREFIX):
                slot, _, name = key.removeprefix(PREFIX).partition("/")
                device = self.meta[name].device
                self._slots.setdefault(slot, {})[name] = content.to(device, copy=True)

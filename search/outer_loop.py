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


def schedule(kind: str, progress: float) -> float:
    """Return the factor on `outer_lr` when a share `progress` (0 to 1) of the budget is spent."""
    if kind == "linear":
        return 1 - progress
    if kind == "cosine":
        return 0.5 * (1 + math.cos(math.pi * progress))
    return 1.0


class OuterLoop:
    """A torch optimizer over a dictionary of tensors, which it updates in place.

    Hyperparameters: `outer_optimizer` ("adam" or "sgd"), `outer_lr`, `outer_schedule`, `clip_norm`
    (bound on the norm of the whole meta-gradient; 0 for none).
    """

    def __init__(self, meta: Params, hyper: Mapping[str, Any]):
        self.meta = meta
        self._rate = float(hyper["outer_lr"])
        self._schedule = str(hyper["outer_schedule"])
        self._clip_norm = float(hyper["clip_norm"])
        values = list(meta.values())
        self._optimizer: torch.optim.Optimizer
        if hyper["outer_optimizer"] == "sgd":
            self._optimizer = torch.optim.SGD(values, lr=self._rate)
        else:
            self._optimizer = torch.optim.Adam(values, lr=self._rate, foreach=True)

    def step(self, gradients: Params, progress: float) -> None:
        """Take one step against `gradients`."""
        for name, value in self.meta.items():
            value.grad = gradients[name]
        if self._clip_norm > 0:
            torch.nn.utils.clip_grad_norm_(list(self.meta.values()), self._clip_norm)
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
                # Adam counts its steps on the CPU, wherever the parameters are.
                device = content.device if slot == "step" else value.device
                self._optimizer.state[value][slot] = content.to(device, copy=True)

"""What the contenders that use torch share: data as tensors, modules, loss and timing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks import workloads
from benchmarks.contenders.contender import Contender, Options
from benchmarks.workloads import DEPTH, WIDTH, Workload

Episode = tuple[Tensor, Tensor, Tensor, Tensor]
"""Support inputs (N, *input_shape) and targets, query inputs and targets."""


def tensor(values: np.ndarray, options: Options) -> Tensor:
    """Move an array to the device; real numbers are cast to the options' type."""
    found = torch.from_numpy(np.ascontiguousarray(values))
    dtype = getattr(torch, options.dtype) if found.is_floating_point() else found.dtype
    return found.to(options.device, dtype)


def weights(workload: Workload, options: Options) -> dict[str, Tensor]:
    """Return the initial weights as tensors."""
    return {name: tensor(value, options) for name, value in workloads.weights(workload).items()}


def batch(workload: Workload, options: Options) -> Episode:
    """Return the meta-batch as four tensors with a leading axis of episodes."""
    data = workloads.batch(workload)
    return (
        tensor(data.support_inputs, options),
        tensor(data.support_targets, options),
        tensor(data.query_inputs, options),
        tensor(data.query_targets, options),
    )


def episodes(workload: Workload, options: Options) -> list[Episode]:
    """Return the meta-batch as a list of episodes."""
    return list(zip(*batch(workload, options), strict=True))


def loss_of(workload: Workload) -> Callable[[Tensor, Tensor], Tensor]:
    """Return the mean loss of one episode's outputs and targets."""
    return F.cross_entropy if workload.ways else F.mse_loss


def modules(workload: Workload, options: Options) -> tuple[nn.Module, nn.Module]:
    """Return the network as a body and a head, with the initial weights.

    Taken together, their parameters come in the order of `workloads.weights`.
    """
    layers: list[nn.Module] = []
    if workload.filters:
        channels, height, width = workload.input_shape
        for _ in range(DEPTH):
            layers += [
                nn.Conv2d(channels, workload.filters, 3, padding=1, bias=False),
                nn.BatchNorm2d(workload.filters, track_running_stats=False),
                nn.ReLU(),
                nn.MaxPool2d(2),
            ]
            channels, height, width = workload.filters, height // 2, width // 2
        size = channels * height * width
    else:
        size = workload.input_shape[0]
        for _ in range(2):
            layers += [nn.Linear(size, WIDTH), nn.ReLU()]
            size = WIDTH
    body = nn.Sequential(*layers, nn.Flatten())
    head = nn.Linear(size, workload.outputs)
    both = nn.Sequential(body, head).to(options.device, getattr(torch, options.dtype))
    with torch.no_grad():
        for parameter, value in zip(
            both.parameters(), weights(workload, options).values(), strict=True
        ):
            parameter.copy_(value)
    return body, head


def gradients(parameters: Iterable[Tensor]) -> list[Tensor]:
    """Return what parameters have gathered as gradients. Raises RuntimeError where one has none."""
    found = [parameter.grad for parameter in parameters]
    present = [each for each in found if each is not None]
    if len(present) < len(found):
        raise RuntimeError(
            f"{len(found) - len(present)} of {len(found)} parameters have no gradient"
        )
    return present


def contender(
    workload: Workload,
    options: Options,
    compute: Callable[[], Mapping[str, Tensor] | Sequence[Tensor]],
    notes: dict[str, str] | None = None,
) -> Contender:
    """Return a contender from a function that computes gradients, by name or in order."""
    cuda = torch.device(options.device).type == "cuda"
    names = list(workloads.weights(workload))

    def run() -> Any:
        gradients = compute()
        if cuda:
            torch.cuda.synchronize()
        return gradients

    def flat(gradients: Mapping[str, Tensor] | Sequence[Tensor]) -> np.ndarray:
        if not isinstance(gradients, Mapping):
            gradients = dict(zip(names, gradients, strict=True))
        arrays = {name: value.detach().cpu().numpy() for name, value in gradients.items()}
        return workloads.flat(workload, arrays)

    return Contender(run, flat, torch.cuda.max_memory_allocated if cuda else None, notes or {})

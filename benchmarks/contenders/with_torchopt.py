"""TorchOpt (Ren et al. 2023, arXiv:2211.06934), with its differentiable optimizer MetaSGD."""

from __future__ import annotations

import torchopt
from torch import Tensor, nn

from benchmarks.contenders import torch_parts
from benchmarks.contenders.contender import Contender, NotOfferedError, Options
from benchmarks.workloads import Workload


def build(workload: Workload, options: Options) -> Contender:
    """Make a workload ready. Raises NotOfferedError for first order."""
    if workload.method == "fomaml":
        raise NotOfferedError("its differentiable optimizers are of second order")
    body, head = torch_parts.modules(workload, options)
    whole = nn.Sequential(body, head)
    parameters = list(whole.parameters())
    episodes = torch_parts.episodes(workload, options)
    loss_of = torch_parts.loss_of(workload)
    head_only = workload.method == "anil"
    adapted = head if head_only else whole
    inner = torchopt.MetaSGD(adapted, lr=workload.inner_lr)
    start = torchopt.extract_state_dict(adapted, by="reference", detach_buffers=True)
    start_inner = torchopt.extract_state_dict(inner, by="reference")

    def compute() -> list[Tensor]:
        for parameter in parameters:
            parameter.grad = None
        for support, support_targets, query, query_targets in episodes:
            inputs = (body(support), body(query)) if head_only else (support, query)
            for _ in range(workload.inner_steps):
                inner.step(loss_of(adapted(inputs[0]), support_targets))
            (loss_of(adapted(inputs[1]), query_targets) / len(episodes)).backward()
            torchopt.recover_state_dict(adapted, start)
            torchopt.recover_state_dict(inner, start_inner)
        return torch_parts.gradients(parameters)

    return torch_parts.contender(workload, options, compute)

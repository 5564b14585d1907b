"""higher (Grefenstette et al. 2019, arXiv:1910.01727)."""

from __future__ import annotations

import higher
import torch
from torch import Tensor, nn

from benchmarks.contenders import torch_parts
from benchmarks.contenders.contender import Contender, Options
from benchmarks.workloads import Workload


def build(workload: Workload, options: Options) -> Contender:
    """Make a workload ready."""
    body, head = torch_parts.modules(workload, options)
    whole = nn.Sequential(body, head)
    episodes = torch_parts.episodes(workload, options)
    loss_of = torch_parts.loss_of(workload)
    head_only = workload.method == "anil"
    adapted = head if head_only else whole
    optimizer = torch.optim.SGD(adapted.parameters(), lr=workload.inner_lr)

    def backward(episode: torch_parts.Episode) -> None:
        """Second order: the graph leads back to the module's own parameters."""
        support, support_targets, query, query_targets = episode
        inputs = (body(support), body(query)) if head_only else (support, query)
        with higher.innerloop_ctx(adapted, optimizer, copy_initial_weights=False) as (fast, inner):
            for _ in range(workload.inner_steps):
                inner.step(loss_of(fast(inputs[0]), support_targets))
            (loss_of(fast(inputs[1]), query_targets) / len(episodes)).backward()

    def first_order(episode: torch_parts.Episode) -> tuple[Tensor, ...]:
        """First order: no graph of the inner loop; the gradient at the adapted parameters."""
        support, support_targets, query, query_targets = episode
        context = higher.innerloop_ctx(adapted, optimizer, track_higher_grads=False)
        with context as (fast, inner):
            for _ in range(workload.inner_steps):
                inner.step(loss_of(fast(support), support_targets))
            loss = loss_of(fast(query), query_targets) / len(episodes)
            return torch.autograd.grad(loss, list(fast.parameters()))

    def compute() -> list[Tensor]:
        whole.zero_grad(set_to_none=True)
        if workload.method == "fomaml":
            parts = zip(*(first_order(episode) for episode in episodes), strict=True)
            return [torch.stack(part).sum(0) for part in parts]
        for episode in episodes:
            backward(episode)
        return torch_parts.gradients(whole.parameters())

    return torch_parts.contender(workload, options, compute)

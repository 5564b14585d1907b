"""The least one can do in torch: a loop over episodes with `torch.autograd.grad`."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.contenders import torch_parts
from benchmarks.contenders.contender import Contender, Options
from benchmarks.workloads import DEPTH, Workload

Params = dict[str, Tensor]


def features(workload: Workload, params: Params, inputs: Tensor) -> Tensor:
    """Map inputs (N, *input_shape) to features (N, F)."""
    if not workload.filters:
        for layer in ("layer1", "layer2"):
            weight, bias = params[f"{layer}.weight"], params[f"{layer}.bias"]
            inputs = F.relu(F.linear(inputs, weight, bias))
        return inputs
    for block in (f"block{i}" for i in range(1, DEPTH + 1)):
        maps = F.conv2d(inputs, params[f"{block}.weight"], padding=1)
        scale, shift = params[f"{block}.scale"], params[f"{block}.shift"]
        maps = F.batch_norm(maps, None, None, scale, shift, training=True)
        inputs = F.max_pool2d(F.relu(maps), 2)
    return inputs.flatten(1)


def head(params: Params, hidden: Tensor) -> Tensor:
    """Map features (N, F) to outputs (N, outputs)."""
    return F.linear(hidden, params["head.weight"], params["head.bias"])


def build(workload: Workload, options: Options) -> Contender:
    """Make a workload ready."""
    episodes = torch_parts.episodes(workload, options)
    loss_of = torch_parts.loss_of(workload)
    meta = {n: v.requires_grad_() for n, v in torch_parts.weights(workload, options).items()}
    second_order = workload.method != "fomaml"
    head_only = workload.method == "anil"

    def query_loss(episode: torch_parts.Episode) -> Tensor:
        support, support_targets, query, query_targets = episode
        params = dict(meta)
        adapted = [name for name in params if not head_only or name.startswith("head.")]
        fixed = features(workload, params, support) if head_only else None
        for _ in range(workload.inner_steps):
            hidden = features(workload, params, support) if fixed is None else fixed
            loss = loss_of(head(params, hidden), support_targets)
            gradients = torch.autograd.grad(
                loss,
                [params[name] for name in adapted],
                create_graph=second_order,
                retain_graph=second_order,
            )
            for name, gradient in zip(adapted, gradients, strict=True):
                params[name] = params[name] - workload.inner_lr * gradient
        return loss_of(head(params, features(workload, params, query)), query_targets)

    def compute() -> list[Tensor]:
        total = [torch.zeros_like(value) for value in meta.values()]
        for episode in episodes:
            gradients = torch.autograd.grad(query_loss(episode), list(meta.values()))
            torch._foreach_add_(total, gradients, alpha=1 / len(episodes))
        return total

    return torch_parts.contender(workload, options, compute)

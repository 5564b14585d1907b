"""metasweep, by way of its engine: as it comes, compiled, and as a CUDA graph."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

import networks
from algorithms import ALGORITHMS, Objective, engine
from algorithms.algorithm import Hyper
from algorithms.allocator import keep_freed_memory
from algorithms.parts.losses import CLASSIFICATION, REGRESSION
from benchmarks.contenders import torch_parts
from benchmarks.contenders.contender import Contender, NotOfferedError, Options
from benchmarks.workloads import Workload
from episodes.episode import Episodes, Examples


def eager(workload: Workload, options: Options) -> Contender:
    """Make a workload ready, to run as torch runs it."""
    return _build(workload, options)


def compiled(workload: Workload, options: Options) -> Contender:
    """Make a workload ready, to run as one compiled program. Raises NotOfferedError on a GPU."""
    if torch.device(options.device).type != "cpu":
        raise NotOfferedError("programs are compiled for a CPU")
    return _build(workload, options, compiled=True)


def captured(workload: Workload, options: Options) -> Contender:
    """Make a workload ready, to run as one CUDA graph. Raises NotOfferedError without a GPU."""
    if torch.device(options.device).type != "cuda":
        raise NotOfferedError("a CUDA graph runs on a GPU")
    return _build(workload, options, captured=True)


def _build(workload: Workload, options: Options, **how: Any) -> Contender:
    chosen = engine.choose(workload.input_shape, torch.device(options.device))
    return build(workload, options, replace(chosen, **how), fit=True)


def build(
    workload: Workload, options: Options, formulation: engine.Formulation, *, fit: bool = False
) -> Contender:
    """Make a workload ready, to run in one way; `fit`: to memory and precision, as a trial is."""
    settings = {"filters": workload.filters} if workload.filters else {}
    network = networks.build(
        "conv4" if workload.filters else "mlp", workload.input_shape, workload.outputs, settings
    )
    ways = workload.ways or None
    objective = Objective(
        CLASSIFICATION if ways else REGRESSION, transductive=True, ways=ways, train_classes=ways
    )
    algorithm = ALGORITHMS[workload.method].make(network, objective)
    hyper: Hyper = {
        "inner_lr": torch.tensor(
            workload.inner_lr, dtype=getattr(torch, options.dtype), device=options.device
        ),
        "inner_steps": workload.inner_steps,
    }
    _, state = algorithm.init(hyper, torch.Generator().manual_seed(0))
    meta = torch_parts.weights(workload, options)
    support, support_targets, query, query_targets = torch_parts.batch(workload, options)
    episodes = Episodes(
        Examples(support, support_targets),
        Examples(query, query_targets),
        torch.arange(workload.ways).expand(len(support), -1),
        torch.arange(len(support)),
    ).to(options.device, getattr(torch, options.dtype))
    # As a trial does when it starts.
    keep_freed_memory()
    if fit:
        learner = (algorithm, meta, state, hyper)
        formulation = engine.fitted(formulation, *learner, episodes[:1], episodes.index[:1])
        formulation = engine.exact_enough(formulation, *learner, episodes, episodes.index)
    ready = engine.prepared(formulation, f"benchmarks/{workload.name}")

    def compute() -> Mapping[str, Tensor]:
        gradients, _, _ = engine.meta_gradients(
            algorithm, formulation, meta, state, hyper, episodes, episodes.index, ready
        )
        return gradients

    notes = {name: str(value) for name, value in formulation.to_dict().items()}
    return torch_parts.contender(workload, options, compute, notes)

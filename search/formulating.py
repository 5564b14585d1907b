"""How a learner will run, chosen in one way for trials of a search and for `metasweep train`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Literal

import torch

from algorithms import engine
from episodes.episode import TaskDistribution
from networks import NETWORKS
from search.config import Config
from search.extensions import learner_is_own

FOR_DERIVATIVES = 0.5
SHARE_TO_MEASURE = 0.5
"""Of a GPU that trials take whose need is yet to be measured, so that several will fit."""

Memory = tuple[int | None, float | None]
"""MB that derivatives may take, or the share of a GPU's memory."""


def memory_for(cpu: float, gpu: float | Literal["auto"], memory_gb: float | None = None) -> Memory:
    """Return the MB that a trial's derivatives may take, or the share of a GPU's memory.

    Unless `memory_gb` says how much a trial has, that is its share of the machine's memory,
    by its share of the processors, or of the memory of the GPU that it gets, which this machine may
    lack. A part is left for weights, data and the rest.
    """
    if memory_gb is not None:
        return int(1e3 * memory_gb * FOR_DERIVATIVES), None
    if not gpu:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e6
        part = min(1.0, cpu / (os.cpu_count() or 1))
        return int(total * part * FOR_DERIVATIVES), None
    share = SHARE_TO_MEASURE if gpu == "auto" else min(1.0, gpu)
    return None, share * FOR_DERIVATIVES


def formulation_for(
    algorithm: str,
    network: str,
    hyper: Mapping[str, Any],
    episodes: int,
    distribution: TaskDistribution,
    device: torch.device,
    memory: Memory,
    replicas: int,
) -> engine.Formulation:
    """Return what a learner runs in, before it is fitted to memory. Names must be registered.

    episodes: that each replica is trained on.

    It depends on nothing that was run or compiled before, so that equal searches give equal
    numbers.
    """
    batches: int | None = episodes // int(hyper["meta_batch_size"])
    if learner_is_own(algorithm, network):
        batches = None  # Compiled programs outlive the code that they were made of.
    return engine.choose(
        distribution.input_shape,
        device,
        batches,
        memory[0],
        gpu_share=memory[1],
        symbols=distribution.kind == "translation",
        fully_connected=NETWORKS[network].fully_connected,
        replicas=replicas,
    )


def formulation_of(config: Config, distribution: TaskDistribution) -> engine.Formulation:
    """Return what a configuration says, or else what a search would choose for it.

    Nobody has said then how many trials share the machine: it gets the memory that goes with its
    threads, or that of a whole GPU.
    """
    if config.formulation:
        return engine.Formulation.from_dict(config.formulation)
    device = torch.device(config.device)
    return formulation_for(
        config.algorithm,
        config.network,
        config.hyper,
        config.episodes,
        distribution,
        device,
        memory_for(config.threads, 0.0 if device.type == "cpu" else 1.0),
        config.seeds,
    )

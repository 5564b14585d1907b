"""From a point of the search space to a complete configuration."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import torch

from algorithms import engine
from episodes.episode import TaskDistribution
from search.config import Config, Problem
from search.distribution import distribution_of
from search.extensions import learner_is_own
from search.spec import Spec
from search.spec_sections import ResourcesSpec

FOR_DERIVATIVES = 0.5
SHARE_TO_MEASURE = 0.5
"""Of a GPU that trials take whose need is yet to be measured, so that several will fit."""


def sampler_of(
    spec: Spec, problem: Problem, distribution: TaskDistribution
) -> Callable[[Any], Config]:
    """Return a function from an Optuna trial to the configuration that it suggests."""
    space = spec.search_space()
    rungs = spec.rungs()
    device = torch.device("cuda" if spec.resources.gpu else "cpu")

    memory, share = memory_of_a_trial(spec.resources)

    def sample(trial: Any) -> Config:
        learner = space.suggest(trial)
        batches: int | None = spec.budget.episodes // int(learner.hyper["meta_batch_size"])
        if learner_is_own(learner.algorithm, learner.network):
            batches = None  # Compiled programs outlive the code that they were made of.
        formulation = engine.choose(
            distribution.input_shape,
            device,
            batches,
            memory,
            gpu_share=share,
            symbols=distribution.kind == "translation",
        )
        return Config(
            problem=problem,
            algorithm=learner.algorithm,
            network=learner.network,
            hyper=learner.hyper,
            settings=learner.settings,
            episodes=spec.budget.episodes,
            rungs=rungs,
            seed=spec.seed,
            seeds=spec.seeds,
            device=device.type,
            threads=max(1, int(spec.resources.cpu)),
            formulation=formulation.to_dict(),
        )

    return sample


def memory_of_a_trial(resources: ResourcesSpec) -> tuple[int | None, float | None]:
    """Return the MB that a trial's derivatives may take, or the share of a GPU's memory.

    Unless the specification says how much a trial has, that is its share of the machine's memory,
    by its share of the processors, or of the memory of the GPU that it gets, which this machine may
    lack. A part is left for weights, data and the rest.
    """
    if resources.memory_gb is not None:
        return int(1e3 * resources.memory_gb * FOR_DERIVATIVES), None
    if not resources.gpu:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e6
        part = min(1.0, resources.cpu / (os.cpu_count() or 1))
        return int(total * part * FOR_DERIVATIVES), None
    share = SHARE_TO_MEASURE if resources.gpu == "auto" else min(1.0, resources.gpu)
    return None, share * FOR_DERIVATIVES


def load_problem(spec: Spec, data: str | None) -> tuple[Problem, TaskDistribution]:
    """Load what a specification searches on. Raises `episodes.DataError`."""
    distribution = distribution_of(spec.problem_for(""), data)
    return spec.problem_for(distribution.digest), distribution

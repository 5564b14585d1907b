"""From a point of the search space to a complete configuration."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from episodes.episode import TaskDistribution
from search.config import Config, Problem
from search.distribution import distribution_of
from search.formulating import Memory, formulation_for, memory_for
from search.spec import Spec
from search.spec_sections import ResourcesSpec


def sampler_of(
    spec: Spec, problem: Problem, distribution: TaskDistribution
) -> Callable[[Any], Config]:
    """Return a function from an Optuna trial to the configuration that it suggests."""
    space = spec.search_space()
    rungs = spec.rungs()
    device = torch.device("cuda" if spec.resources.gpu else "cpu")
    memory = memory_of_a_trial(spec.resources)

    def sample(trial: Any) -> Config:
        learner = space.suggest(trial)
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
            formulation=formulation_for(
                learner.algorithm,
                learner.network,
                learner.hyper,
                spec.budget.episodes,
                distribution,
                device,
                memory,
                spec.seeds,
            ).to_dict(),
        )

    return sample


def memory_of_a_trial(resources: ResourcesSpec) -> Memory:
    """Return what the resources of a trial leave for derivatives; see `memory_for`."""
    return memory_for(resources.cpu, resources.gpu, resources.memory_gb)


def load_problem(spec: Spec, data: str | None) -> tuple[Problem, TaskDistribution]:
    """Load what a specification searches on. Raises `episodes.DataError`."""
    distribution = distribution_of(spec.problem_for(""), data)
    return spec.problem_for(distribution.digest), distribution

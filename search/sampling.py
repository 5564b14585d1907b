"""From a point of the search space to a complete configuration."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from algorithms import engine
from episodes.episode import TaskDistribution
from search.config import Config, Problem
from search.distribution import distribution_of
from search.spec import Spec


def sampler_of(
    spec: Spec, problem: Problem, distribution: TaskDistribution
) -> Callable[[Any], Config]:
    """Return a function from an Optuna trial to the configuration that it suggests."""
    space = spec.search_space()
    rungs = spec.rungs()
    device = torch.device("cuda" if spec.resources.gpu else "cpu")
    formulation = engine.choose(distribution.input_shape, device).to_dict()

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
            device=device.type,
            threads=max(1, int(spec.resources.cpu)),
            formulation=formulation,
        )

    return sample


def load_problem(spec: Spec, data: str | None) -> tuple[Problem, TaskDistribution]:
    """Load what a specification searches on. Raises `episodes.DataError`."""
    distribution = distribution_of(spec.problem_for(""), data)
    return spec.problem_for(distribution.digest), distribution

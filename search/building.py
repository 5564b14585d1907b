"""From a configuration to what is trained: its algorithm, objective and hyperparameters."""

from __future__ import annotations

import json

import torch

import algorithms
import networks
from algorithms import Algorithm, Objective
from algorithms.algorithm import Hyper
from algorithms.parts.losses import LOSSES, Loss
from episodes.episode import TaskDistribution
from search import extensions
from search.config import Config

COUNTS = ("inner_steps", "inner_steps_evaluation", "meta_batch_size", "cg_steps", "context_size")


def objective_of(config: Config, distribution: TaskDistribution) -> Objective:
    """Return what an algorithm needs to know of the configuration's problem."""
    problem = config.problem
    return Objective(
        LOSSES[distribution.kind], problem.transductive, problem.ways, distribution.train_classes
    )


def resolve_learner(config: Config) -> None:
    """Import what of a configuration's learner is a user's own; UserError where it is not found."""
    extensions.resolve_field("network", "network", config.network)
    extensions.resolve_field("algorithm", "algorithm", config.algorithm)


def build(config: Config, distribution: TaskDistribution) -> tuple[Algorithm, Loss]:
    """Build the configuration's algorithm on its network, and the loss it is judged by.

    Raises UserError where one of them is a user's own and is not found here.
    """
    resolve_learner(config)
    network = networks.build(
        config.network, distribution.input_shape, distribution.outputs, config.settings
    )
    objective = objective_of(config, distribution)
    algorithm = algorithms.make(config.algorithm, network, objective, config.hyper)
    return algorithm, objective.loss


def identity(config: Config, distribution: TaskDistribution) -> str:
    """Return a text that tells apart what compiles to different programs."""
    words = {k: v for k, v in config.hyper.items() if isinstance(v, str | bool)}
    problem = config.problem
    parts = {
        "algorithm": [config.algorithm, words],
        "network": [config.network, dict(config.settings)],
        "shapes": [list(distribution.input_shape), distribution.outputs],
        "problem": [problem.transductive, problem.ways, distribution.train_classes],
    }
    return json.dumps(parts, sort_keys=True)


def hyperparameters(config: Config, device: torch.device) -> Hyper:
    """Return the hyperparameters as algorithms want them: numbers as tensors, counts as ints."""
    numbers = {
        name: value for name, value in config.hyper.items() if not isinstance(value, str | bool)
    }
    return {
        name: int(value) if name in COUNTS else torch.tensor(float(value), device=device)
        for name, value in numbers.items()
    }


def evaluation_steps(config: Config) -> int:
    """Return the number of inner steps at meta-validation and meta-test; 0 without a loop."""
    return int(config.hyper.get("inner_steps_evaluation", 0))

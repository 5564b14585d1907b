"""Draws what was enqueued."""

from __future__ import annotations

import optuna

from spaces.parameter import Value
from spaces.search_space import Learner, SearchSpace


def drawn(space: SearchSpace, parameters: dict[str, Value]) -> Learner:
    """Return what a search draws first, where that is enqueued: these parameters and no others."""
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    study.enqueue_trial(parameters)
    trial = study.ask()
    learner = space.suggest(trial)
    assert trial.params == parameters, "something was sampled, or asked for and ignored"
    return learner

"""A study as one would first write it: Optuna's own storage, asked for every trial every time."""

from __future__ import annotations

import warnings
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from search.study import REASON, REFERENCE, Halving, SearchStudy, State


class PlainStudy(SearchStudy):
    """Does what `SearchStudy` does, without its memory and its view of the past."""

    def __init__(self, name: str, url: str, direction: str, halving: Halving, seed: int):
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            sampler = optuna.samplers.TPESampler(
                multivariate=True, group=True, constant_liar=True, seed=seed
            )
        pruner = optuna.pruners.SuccessiveHalvingPruner(
            min_resource=halving.first_rung, reduction_factor=halving.reduction_factor
        )
        self.study = optuna.create_study(
            storage=url, study_name=name, direction=direction, sampler=sampler, pruner=pruner
        )

    def written(self, seconds: float | None = None) -> bool:
        """Return True: every call returns when it has written."""
        return True

    def ask(self) -> optuna.Trial:
        """Return a new trial."""
        return self.study.ask()

    def annotate(self, number: int, key: str, value: Any) -> None:
        """Attach a value to a trial."""
        self.handle(number).set_user_attr(key, value)

    def report(self, number: int, episodes: int, value: float) -> bool:
        """Record a value; return whether to prune."""
        trial = self.handle(number)
        trial.report(value, episodes)
        return trial.should_prune() and REFERENCE not in trial.user_attrs

    def tell(self, number: int, state: State, value: float | None, reason: str) -> None:
        """End a trial."""
        if reason:
            self.annotate(number, REASON, reason)
        self.study.tell(number, value if state == "COMPLETE" else None, TrialState[state])

    def best(self, count: int) -> list[FrozenTrial]:
        """Return the best trials, sorted anew."""
        self._ranked = None
        return super().best(count)

    def handle(self, number: int) -> optuna.Trial:
        """Return a running trial."""
        return optuna.Trial(self.study, self._frozen(number)._trial_id)

    def _frozen(self, number: int) -> FrozenTrial:
        return self.study.get_trials(deepcopy=False)[number]

"""The Optuna study: it owns sampling, pruning and the state of every trial."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import Any, Literal

import optuna
from optuna.exceptions import OptunaError
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.exc import SQLAlchemyError

from search.errors import UserError

State = Literal["COMPLETE", "PRUNED", "FAIL"]
REFERENCE = "reference"
RUN_ID, CONFIG, REASON, CONFIRMED = "run_id", "config", "reason", "confirmed"


@dataclass(frozen=True)
class Halving:
    """Successive halving over episodes seen (Jamieson and Talwalkar 2016; asynchronously, Li 2020).

    At each rung, first_rung * reduction_factor^k episodes, one trial in `reduction_factor` goes on.
    """

    first_rung: int
    reduction_factor: int


class SearchStudy:
    """One search's study. Every change is written to its database before the call returns."""

    def __init__(self, name: str, url: str, direction: str, halving: Halving, seed: int):
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        pruner = optuna.pruners.SuccessiveHalvingPruner(
            min_resource=halving.first_rung, reduction_factor=halving.reduction_factor
        )
        try:
            self.study = optuna.create_study(
                study_name=name,
                storage=url,
                direction=direction,
                pruner=pruner,
                load_if_exists=True,
            )
        except (SQLAlchemyError, OptunaError, ImportError, OSError) as error:
            reason = str(error).splitlines()[0]
            raise UserError(f"study: cannot open the Optuna database: {reason}") from error
        # A resumed search draws new numbers: with those of its beginning it would repeat trials.
        trials = len(self.study.get_trials(deepcopy=False))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            self.study.sampler = optuna.samplers.TPESampler(
                multivariate=True, group=True, constant_liar=True, seed=seed + trials
            )

    def enqueue(self, parameters: dict[str, Any], reference: bool = True) -> None:
        """Have these parameters tried before any sampled ones.

        reference: whether they are never pruned.
        """
        attributes = {REFERENCE: True} if reference else {}
        self.study.enqueue_trial(parameters, user_attrs=attributes, skip_if_exists=True)

    def ask(self) -> optuna.Trial:
        """Return a new trial to suggest parameters for."""
        return self.study.ask()

    def annotate(self, number: int, key: str, value: Any) -> None:
        """Attach a JSON value to a running trial; Optuna refuses to change a finished one."""
        self.handle(number).set_user_attr(key, value)

    def note(self, key: str, value: Any) -> None:
        """Attach a JSON value to the study."""
        self.study.set_user_attr(key, value)

    def notes(self) -> dict[str, Any]:
        """Return what was attached to the study."""
        return self.study.user_attrs

    def report(self, number: int, episodes: int, value: float) -> bool:
        """Record an intermediate value; return whether the trial should be pruned.

        References are not: a leaderboard shows what was published beside what was found.
        """
        trial = self.handle(number)
        trial.report(value, episodes)
        return trial.should_prune() and REFERENCE not in trial.user_attrs

    def tell(self, number: int, state: State, value: float | None, reason: str) -> None:
        """End a trial. A COMPLETE one has a finite value; a diverged one is PRUNED with NaN.

        Samplers learn from PRUNED trials and their last intermediate value, and ignore FAIL.
        """
        if reason:
            self.annotate(number, REASON, reason)
        complete = state == "COMPLETE"
        if complete and (value is None or not math.isfinite(value)):
            raise ValueError(f"trial {number} completed with {value}")
        self.study.tell(number, value if complete else None, TrialState[state])

    def trials(self, *states: str) -> list[FrozenTrial]:
        """Return the trials in any of the given states, by number."""
        wanted = tuple(TrialState[state] for state in states)
        return self.study.get_trials(deepcopy=False, states=wanted or None)

    def best(self, count: int) -> list[FrozenTrial]:
        """Return the best COMPLETE trials with a finite value, best first."""
        finite = [
            trial
            for trial in self.trials("COMPLETE")
            if trial.value is not None and math.isfinite(trial.value)
        ]
        sign = -1 if self.study.direction == optuna.study.StudyDirection.MAXIMIZE else 1
        return sorted(finite, key=lambda trial: sign * float(trial.value or 0))[:count]

    def attributes(self, number: int) -> dict[str, Any]:
        """Return what was attached to a trial."""
        return dict(self._frozen(number).user_attrs)

    def intermediate_values(self, number: int) -> dict[int, float]:
        """Return what was reported, by episodes seen."""
        return dict(self._frozen(number).intermediate_values)

    def handle(self, number: int) -> optuna.Trial:
        """Return a running trial, whichever process asked for it."""
        return optuna.Trial(self.study, self._frozen(number)._trial_id)

    def _frozen(self, number: int) -> FrozenTrial:
        return self.study.get_trials(deepcopy=False)[number]

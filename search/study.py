"""The Optuna study: it owns sampling, pruning and the state of every trial."""

from __future__ import annotations

import json
import math
import warnings
from dataclasses import dataclass
from typing import Any, Literal

import optuna
from optuna.trial import FrozenTrial, TrialState

from search.study_database import StudyDatabase
from search.study_storage import Recent, StudyStorage
from search.study_writer import PATIENT, Patience

State = Literal["COMPLETE", "PRUNED", "FAIL"]
REFERENCE = "reference"
"""What is attached to the trial of a published default."""
CONFIG, REASON, FULL_RUN = "config", "reason", "full_run_seconds"
CONFIRMED, CONFIRMED_REASON = "confirmed", "confirmed_reason"
"""Of confirmations, by `<number>/<seed>`: the state, and why."""

SEEN_BEST, SEEN_NEWEST = 25, 500
"""Finished trials that suggestions rest on. TPE never calls more than 25 of them good."""


@dataclass(frozen=True)
class Halving:
    """Successive halving over episodes seen (Jamieson and Talwalkar 2016; asynchronously, Li 2020).

    At each rung, first_rung * reduction_factor^k episodes, one trial in `reduction_factor` goes on.
    """

    first_rung: int
    reduction_factor: int


class SearchStudy:
    """One search's study.

    It never waits for its database: every change is seen at once, and written behind, in order.
    """

    def __init__(
        self,
        name: str,
        url: str,
        direction: str,
        halving: Halving,
        seed: int,
        patience: Patience = PATIENT,
    ):
        """Open a study, or begin it. Raises UserError where its database cannot be opened."""
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._storage = StudyStorage(name, StudyDatabase(name, url, direction, patience))
        pruner = optuna.pruners.SuccessiveHalvingPruner(
            min_resource=halving.first_rung, reduction_factor=halving.reduction_factor
        )
        self.study = optuna.load_study(study_name=name, storage=self._storage, pruner=pruner)
        # A resumed search draws new numbers: with those of its beginning it would repeat trials.
        trials = len(self.study.get_trials(deepcopy=False))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            sampler = optuna.samplers.TPESampler(
                multivariate=True, group=True, constant_liar=True, seed=seed + trials
            )
        self._ranked: list[FrozenTrial] | None = None
        self._recent = Recent(self._storage, newest=SEEN_NEWEST)
        self._asking = optuna.load_study(study_name=name, storage=self._recent, sampler=sampler)
        self._recent.look(self.best(SEEN_BEST))

    def written(self, seconds: float | None = None) -> bool:
        """Return whether every change is in the database, waiting for that so long at the most.

        seconds: None for no limit. Where the database is known to be away, nothing is waited for.
        Raises FailedError, then and ever after, when it stays away, or refuses for good.
        """
        return self._storage.written(seconds)

    def enqueue(self, parameters: dict[str, Any], reference: bool = True) -> None:
        """Have these parameters tried before any sampled ones.

        reference: whether they are never pruned.
        """
        attributes = {REFERENCE: True} if reference else {}
        self.study.enqueue_trial(parameters, user_attrs=attributes, skip_if_exists=True)

    def ask(self) -> optuna.Trial:
        """Return a new trial to suggest parameters for.

        It is written to the database with the first thing that is attached to it.
        """
        self._recent.look(self.best(SEEN_BEST))
        return self._asking.ask()

    def annotate(self, number: int, key: str, value: Any) -> None:
        """Attach a JSON value to a running trial; Optuna refuses to change a finished one."""
        # As it would be read after a restart: a tuple has become a list.
        self._storage.set_trial_user_attr(number, key, json.loads(json.dumps(value)))

    def note(self, key: str, value: Any) -> None:
        """Attach a JSON value to the study."""
        self.study.set_user_attr(key, json.loads(json.dumps(value)))

    def notes(self) -> dict[str, Any]:
        """Return what was attached to the study."""
        return self.study.user_attrs

    def report(self, number: int, episodes: int, value: float) -> bool:
        """Record an intermediate value; return whether the trial should be pruned.

        References are not: a leaderboard shows what was published beside what was found.
        """
        trial = optuna.Trial(self.study, number)
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
        self._ranked = None
        self.study.tell(number, value if complete else None, TrialState[state])

    def trials(self, *states: str) -> list[FrozenTrial]:
        """Return the trials in any of the given states, by number."""
        wanted = tuple(TrialState[state] for state in states)
        return self.study.get_trials(deepcopy=False, states=wanted or None)

    def best(self, count: int) -> list[FrozenTrial]:
        """Return the best COMPLETE trials with a finite value, best first."""
        if self._ranked is None:
            finite = [
                trial
                for trial in self.trials("COMPLETE")
                if trial.value is not None and math.isfinite(trial.value)
            ]
            sign = -1 if self.study.direction == optuna.study.StudyDirection.MAXIMIZE else 1
            self._ranked = sorted(finite, key=lambda trial: sign * float(trial.value or 0))
        return self._ranked[:count]

    def attributes(self, number: int) -> dict[str, Any]:
        """Return what was attached to a trial."""
        return dict(self._frozen(number).user_attrs)

    def intermediate_values(self, number: int) -> dict[int, float]:
        """Return what was reported, by episodes seen."""
        return dict(self._frozen(number).intermediate_values)

    def handle(self, number: int) -> optuna.Trial:
        """Return a running trial to suggest parameters for, whichever process asked for it."""
        return optuna.Trial(self._asking, number)

    def close(self) -> None:
        """Leave the database; what is not written is given up."""
        self._storage.close()

    def _frozen(self, number: int) -> FrozenTrial:
        return self._storage.get_trial(number)

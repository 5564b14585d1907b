"""Where a driver's study lives: in memory to be read, in the database to be kept."""

from __future__ import annotations

from collections.abc import Container, Sequence
from copy import deepcopy
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.storages import InMemoryStorage
from optuna.trial import FrozenTrial, TrialState

from search.errors import UserError
from search.study_database import StudyDatabase


class StudyStorage(InMemoryStorage):
    """An Optuna storage of one study, which no other process changes.

    Everything is read from memory: Optuna's own storage would read all running trials again at
    every question. Everything is written to the database as well, behind: `written` tells when it
    is there. A new trial alone is kept back while its parameters are suggested, and then written
    with them and with the first thing that is attached to it, in one transaction: before that it is
    nobody's, and after that it is complete.
    study: the id of the study here. A trial's id is its number.
    """

    def __init__(self, name: str, database: StudyDatabase):
        super().__init__()
        self._database = database
        self.study: int = self.create_new_study(database.directions, name)
        for key, value in database.user_attrs.items():
            super().set_study_user_attr(self.study, key, value)
        for key, value in database.system_attrs.items():
            super().set_study_system_attr(self.study, key, value)
        self._kept_back: int | None = None
        for number, trial in enumerate(sorted(database.trials, key=lambda trial: trial.number)):
            if trial.number != number:
                raise UserError(f"study: {database.shown}: trial {number} of {name} is missing")
            super().create_new_trial(self.study, trial)
        database.trials.clear()  # From here on they are in memory, and change there.

    def written(self, seconds: float | None) -> bool:
        """Return whether all is in the database; see `search.study_writer.Writer.written`."""
        return self._database.written(seconds)

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        """Add a trial: without a template a running one, which is kept back for now."""
        self._write()
        number: int = super().create_new_trial(study_id, template_trial)
        self._kept_back = number
        if template_trial is not None:
            self._write()
        return number

    def set_trial_param(
        self,
        trial_id: int,
        param_name: str,
        param_value_internal: float,
        distribution: BaseDistribution,
    ) -> None:
        """Note a parameter."""
        super().set_trial_param(trial_id, param_name, param_value_internal, distribution)
        if trial_id != self._kept_back:
            self._database.set_param(trial_id, param_name, param_value_internal, distribution)

    def set_trial_state_values(
        self, trial_id: int, state: TrialState, values: Sequence[float] | None = None
    ) -> bool:
        """Change a trial's state, with its value at the end."""
        self._write()
        if not super().set_trial_state_values(trial_id, state, values):
            return False
        self._database.set_state(trial_id, state, values)
        return True

    def set_trial_intermediate_value(
        self, trial_id: int, step: int, intermediate_value: float
    ) -> None:
        """Note a value at a step."""
        self._write()
        super().set_trial_intermediate_value(trial_id, step, intermediate_value)
        self._database.set_intermediate_value(trial_id, step, intermediate_value)

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        """Attach a value to a trial."""
        super().set_trial_user_attr(trial_id, key, value)
        if trial_id == self._kept_back:
            self._write()
        else:
            self._database.set_user_attr(trial_id, key, value)

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        """Attach a value of Optuna's own to a trial."""
        super().set_trial_system_attr(trial_id, key, value)
        if trial_id != self._kept_back:
            self._database.set_system_attr(trial_id, key, value)

    def set_study_user_attr(self, study_id: int, key: str, value: Any) -> None:
        """Attach a value to the study."""
        super().set_study_user_attr(study_id, key, value)
        self._database.set_study_user_attr(key, value)

    def set_study_system_attr(self, study_id: int, key: str, value: Any) -> None:
        """Attach a value of Optuna's own to the study."""
        super().set_study_system_attr(study_id, key, value)
        self._database.set_study_system_attr(key, value)

    def close(self) -> None:
        """Leave the database."""
        self._database.close()

    def _write(self) -> None:
        """Write the trial that is kept back, if any."""
        if self._kept_back is not None:
            # A copy: until it is written, Optuna changes what is in memory under its hands.
            self._database.create_trial(deepcopy(self.get_trial(self._kept_back)))
            self._kept_back = None


class Recent:
    """The storage as a sampler sees it: of finished trials the best and the newest.

    What a suggestion costs grows with every trial that TPE looks at, while older ones count less
    and less: it gives the newest 25 full weight, and to older ones weights that fall to nearly 0.
    """

    def __init__(self, storage: StudyStorage, newest: int):
        self._storage = storage
        self._newest = newest
        self._hidden: frozenset[int] = frozenset()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._storage, name)

    def look(self, best: Sequence[FrozenTrial]) -> None:
        """Take note of what has finished since. best: the trials that count, however old."""
        trials = self._storage.get_all_trials(self._storage.study, deepcopy=False)
        finished = [trial.number for trial in trials if trial.state.is_finished()]
        self._hidden = frozenset(finished[: -self._newest]) - {trial.number for trial in best}

    def get_all_trials(
        self,
        study_id: int,
        deepcopy: bool = True,
        states: Container[TrialState] | None = None,
    ) -> list[FrozenTrial]:
        """Return trials by number."""
        trials: list[FrozenTrial] = self._storage.get_all_trials(study_id, deepcopy, states)
        if not self._hidden:
            return trials
        return [trial for trial in trials if trial.number not in self._hidden]

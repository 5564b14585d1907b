"""The database under a study: one connection's worth of calls, written behind what is in memory."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import optuna
import sqlalchemy
from optuna.distributions import BaseDistribution
from optuna.exceptions import OptunaError
from optuna.storages import RDBStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import InterfaceError, OperationalError, SQLAlchemyError

from search.errors import FailedError, UserError
from search.masking import masked
from search.plain_text import first_line
from search.study_writer import PATIENT, AwayError, Patience, Writer, reason_of

CONNECT_SECONDS = 10

KEEP_ALIVE = {
    "keepalives": 1,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,
}
"""Of PostgreSQL's client, in seconds, the last in milliseconds: a server that lost its power says
nothing, and without these a query would wait for it for hours."""

STAYS_WRONG = ("no such table", "no such column", "syntax error", "readonly database")
"""What SQLite calls an operational error although no waiting helps."""


class StudyDatabase:
    """One study in its database, written by this process alone.

    Every method that writes returns at once: `written` tells when all of it is in the database, in
    the order of the calls. Trials go by their numbers.

    Opening it raises UserError at once where it cannot be reached.
    """

    def __init__(self, name: str, url: str, direction: str, patience: Patience = PATIENT):
        self.shown = masked(url)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
                self._storage = RDBStorage(url, engine_kwargs=_engine_settings(url))
            # Optuna caches what it reads from such a storage; only the study's name is needed here.
            optuna.create_study(
                study_name=name, storage=self._storage, direction=direction, load_if_exists=True
            )
            self._study = self._storage.get_study_id_from_name(name)
            self.directions: list[StudyDirection] = self._storage.get_study_directions(self._study)
            self.user_attrs: dict[str, Any] = self._storage.get_study_user_attrs(self._study)
            self.system_attrs: dict[str, Any] = self._storage.get_study_system_attrs(self._study)
            self.trials: list[FrozenTrial] = self._storage.get_all_trials(
                self._study, deepcopy=False
            )
        except (SQLAlchemyError, OptunaError, ImportError, OSError) as error:
            raise UserError(
                f"study: cannot open the Optuna database: {reason_of(error)}"
            ) from error
        except ValueError:
            # Its text would show the part of a password that was taken for a port.
            raise UserError(
                "study: cannot open the Optuna database: its address is no URL; write special "
                "characters of a password as in %40 for @"
            ) from None
        self._ids = {trial.number: trial._trial_id for trial in self.trials}
        self._writer = Writer(self.shown, patience)
        # Instead of Optuna's own tries, which would create a trial again that was created.
        sqlalchemy.event.listen(self._storage.engine, "handle_error", _tell_what_passes)

    def written(self, seconds: float | None) -> bool:
        """Return whether all is in the database; see `search.study_writer.Writer.written`."""
        return self._writer.written(seconds)

    def create_trial(self, trial: FrozenTrial) -> None:
        """Write a whole trial in one transaction.

        It fails where the database gives it another number than it has here.
        """

        def written() -> int | None:
            try:
                found: int = self._storage.get_trial_id_from_study_id_trial_number(
                    self._study, trial.number
                )
            except KeyError:
                return None
            return found

        def known(created: int) -> None:
            self._ids[trial.number] = created

        def checked(found: int | None) -> None:
            if found != self._ids[trial.number]:
                raise FailedError(
                    f"study: {self.shown}: another program has added a trial to this study while "
                    "the search ran; a search's study is its own"
                )

        self._writer.add(
            lambda: int(self._storage.create_new_trial(self._study, template_trial=trial)),
            written,
            known,
        )
        self._writer.add(written, then=checked)

    def set_state(self, trial: int, state: TrialState, values: Sequence[float] | None) -> None:
        """Change a trial's state."""

        def changed() -> bool | None:
            return True if self._storage.get_trial(self._ids[trial]).state == state else None

        def checked(done: bool) -> None:
            if not done:
                raise FailedError(
                    f"study: {self.shown}: another program has begun trial {trial} while the "
                    "search ran; a search's study is its own"
                )

        self._writer.add(
            lambda: self._storage.set_trial_state_values(self._ids[trial], state, values),
            changed,
            checked,
        )

    def set_param(
        self, trial: int, name: str, value: float, distribution: BaseDistribution
    ) -> None:
        """Note a parameter, as the number that stands for it."""
        self._writer.add(
            lambda: self._storage.set_trial_param(self._ids[trial], name, value, distribution)
        )

    def set_intermediate_value(self, trial: int, step: int, value: float) -> None:
        """Note a trial's value at a step."""
        self._writer.add(
            lambda: self._storage.set_trial_intermediate_value(self._ids[trial], step, value)
        )

    def set_user_attr(self, trial: int, key: str, value: Any) -> None:
        """Attach a JSON value to a trial."""
        self._writer.add(lambda: self._storage.set_trial_user_attr(self._ids[trial], key, value))

    def set_system_attr(self, trial: int, key: str, value: Any) -> None:
        """Attach a JSON value of Optuna's own to a trial."""
        self._writer.add(lambda: self._storage.set_trial_system_attr(self._ids[trial], key, value))

    def set_study_user_attr(self, key: str, value: Any) -> None:
        """Attach a JSON value to the study."""
        self._writer.add(lambda: self._storage.set_study_user_attr(self._study, key, value))

    def set_study_system_attr(self, key: str, value: Any) -> None:
        """Attach a JSON value of Optuna's own to the study."""
        self._writer.add(lambda: self._storage.set_study_system_attr(self._study, key, value))

    def close(self) -> None:
        """Give up what is not written, and close all connections that are not in use."""
        self._writer.close()
        self._storage.remove_session()
        self._storage.engine.dispose()


def _engine_settings(url: str) -> dict[str, Any]:
    parsed = sqlalchemy.make_url(url)
    if parsed.get_backend_name() == "sqlite":
        return {}
    settings: dict[str, Any] = {"pool_pre_ping": True}
    driver = parsed.drivername.rpartition("+")[2]
    if driver in ("psycopg", "psycopg2", "postgresql"):
        settings["connect_args"] = {"connect_timeout": CONNECT_SECONDS, **KEEP_ALIVE}
    elif driver == "pymysql":
        settings["connect_args"] = {"connect_timeout": CONNECT_SECONDS}
    return settings


def _tell_what_passes(context: ExceptionContext) -> None:
    """Raise AwayError for what passes by itself; Optuna lets it through as it is."""
    if context.is_pre_ping:
        return  # SQLAlchemy connects anew.
    error = context.sqlalchemy_exception
    operational = isinstance(error, OperationalError | InterfaceError)
    text = str(context.original_exception)
    stays = any(wrong in text for wrong in STAYS_WRONG)
    if context.is_disconnect or (operational and not stays):
        raise AwayError(first_line(context.original_exception))

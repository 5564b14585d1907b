"""The database under a study: it is waited for while it is away, and nothing is done twice."""

from __future__ import annotations

import logging
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

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

Value = TypeVar("Value")

CONNECT_SECONDS = 10
SILENT_SECONDS = 30.0
"""After which it is said that a database takes its time, which no time-out of a driver notices."""

STAYS_WRONG = ("no such table", "no such column", "syntax error", "readonly database")
"""What SQLite calls an operational error although no waiting helps."""

log = logging.getLogger("metasweep")


class AwayError(Exception):
    """The database does not answer, or cannot write now."""


@dataclass(frozen=True)
class Patience:
    """How long a database is waited for, in seconds: at most, between the first tries, the last."""

    most: float = 600.0
    first: float = 0.25
    longest: float = 10.0
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic


PATIENT = Patience()


class StudyDatabase:
    """One study in its database, written by this process alone.

    Every method that writes has written when it returns. Where the database went away in the
    middle, it is asked what it holds before anything is repeated: a commit may have succeeded
    although its answer was lost. Each raises FailedError when the database stays away for longer
    than `patience`, or refuses for good.

    Opening it raises UserError at once where it cannot be reached.
    """

    def __init__(self, name: str, url: str, direction: str, patience: Patience = PATIENT):
        self.shown = masked(url)
        self._patience = patience
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
            raise UserError(f"study: cannot open the Optuna database: {_reason(error)}") from error
        except ValueError:
            # Its text would show the part of a password that was taken for a port.
            raise UserError(
                "study: cannot open the Optuna database: its address is no URL; write special "
                "characters of a password as in %40 for @"
            ) from None
        # Instead of Optuna's own tries, which would create a trial again that was created.
        sqlalchemy.event.listen(self._storage.engine, "handle_error", _tell_what_passes)

    def create_trial(self, trial: FrozenTrial) -> int:
        """Write a whole trial in one transaction; return its id.

        Raises FailedError where the database gives it another number than it has here.
        """

        def written() -> int | None:
            try:
                found: int = self._storage.get_trial_id_from_study_id_trial_number(
                    self._study, trial.number
                )
            except KeyError:
                return None
            return found

        created = self._patiently(
            lambda: int(self._storage.create_new_trial(self._study, template_trial=trial)), written
        )
        if self._patiently(written) != created:
            raise FailedError(
                f"study: {self.shown}: another program has added a trial to this study while the "
                "search ran; a search's study is its own"
            )
        return created

    def set_state(self, trial: int, state: TrialState, values: Sequence[float] | None) -> bool:
        """Change a trial's state; return False when a trial to be run is running already."""

        def changed() -> bool | None:
            return True if self._storage.get_trial(trial).state == state else None

        return self._patiently(
            lambda: bool(self._storage.set_trial_state_values(trial, state, values)), changed
        )

    def set_param(
        self, trial: int, name: str, value: float, distribution: BaseDistribution
    ) -> None:
        """Note a parameter, as the number that stands for it."""
        self._patiently(lambda: self._storage.set_trial_param(trial, name, value, distribution))

    def set_intermediate_value(self, trial: int, step: int, value: float) -> None:
        """Note a trial's value at a step."""
        self._patiently(lambda: self._storage.set_trial_intermediate_value(trial, step, value))

    def set_user_attr(self, trial: int, key: str, value: Any) -> None:
        """Attach a JSON value to a trial."""
        self._patiently(lambda: self._storage.set_trial_user_attr(trial, key, value))

    def set_system_attr(self, trial: int, key: str, value: Any) -> None:
        """Attach a JSON value of Optuna's own to a trial."""
        self._patiently(lambda: self._storage.set_trial_system_attr(trial, key, value))

    def set_study_user_attr(self, key: str, value: Any) -> None:
        """Attach a JSON value to the study."""
        self._patiently(lambda: self._storage.set_study_user_attr(self._study, key, value))

    def set_study_system_attr(self, key: str, value: Any) -> None:
        """Attach a JSON value of Optuna's own to the study."""
        self._patiently(lambda: self._storage.set_study_system_attr(self._study, key, value))

    def close(self) -> None:
        """Close all connections; another call opens one."""
        self._storage.remove_session()
        self._storage.engine.dispose()

    def _patiently(
        self, call: Callable[[], Value], done: Callable[[], Value | None] | None = None
    ) -> Value:
        """Call until the database answers.

        done: what `call` would return if a try before has succeeded, None if none has; without it
            a call may be repeated as it is.
        """
        began: float | None = None
        pause = self._patience.first
        while True:
            try:
                result = done() if done is not None and began is not None else None
                if result is None:
                    with self._silence_told():
                        result = call()
            except AwayError as error:
                now = self._patience.clock()
                if began is None:
                    began = now
                    self._warn(error)
                if now - began >= self._patience.most:
                    raise self._failed(f"{error}, for {self._patience.most:g} s") from error
                self._patience.sleep(pause)
                pause = min(2 * pause, self._patience.longest)
            except (SQLAlchemyError, optuna.exceptions.StorageInternalError) as error:
                raise self._failed(_reason(error)) from error
            else:
                if began is not None:
                    away = self._patience.clock() - began
                    log.warning("study: %s is back after %.0f s", self.shown, away)
                return result

    @contextmanager
    def _silence_told(self) -> Iterator[None]:
        """Say once if the block takes long: a server that is stopped neither answers nor fails."""
        text = "study: %s has not answered for %.0f s; it is waited for"
        timer = threading.Timer(SILENT_SECONDS, log.warning, (text, self.shown, SILENT_SECONDS))
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def _warn(self, error: AwayError) -> None:
        log.warning(
            "study: %s is away: %s\nIt is waited for, up to %.0f s. Running trials go on until "
            "they have something to tell; nothing is lost.",
            self.shown,
            error,
            self._patience.most,
        )

    def _failed(self, reason: str) -> FailedError:
        return FailedError(f"study: {self.shown}: {reason}")


def _engine_settings(url: str) -> dict[str, Any]:
    parsed = sqlalchemy.make_url(url)
    if parsed.get_backend_name() == "sqlite":
        return {}
    settings: dict[str, Any] = {"pool_pre_ping": True}
    if parsed.drivername.rpartition("+")[2] in ("psycopg", "psycopg2", "postgresql", "pymysql"):
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


def _reason(error: BaseException) -> str:
    """Return one line on what the database said, which Optuna keeps as the cause."""
    cause = error.__cause__ if isinstance(error, optuna.exceptions.StorageInternalError) else None
    return first_line(cause or error)

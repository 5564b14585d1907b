"""The database under a study: one connection's worth of calls, written behind what is in memory."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
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
from sqlalchemy.orm import scoped_session, sessionmaker

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


READ_ONLY = "25006"
"""What PostgreSQL says where another server takes over and this one, for now, takes no writes."""

LIMITS = sqlalchemy.text(
    "SELECT set_config('lock_timeout', '60s', true),"
    " set_config('idle_in_transaction_session_timeout', '45s', true)"
)
"""Of one transaction on PostgreSQL: a driver whose machine is gone holds the study's row for less
than another waits for it."""

MARK = "metasweep:written"
"""The study's attribute that says which transaction was the last."""
LOCK = sqlalchemy.text("SELECT study_id FROM studies WHERE study_id = :study FOR UPDATE")
"""Waits for a transaction that is still being committed, and for a trial that another adds."""


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
            self._read()
        except (SQLAlchemyError, OptunaError, ImportError, OSError, RuntimeError) as error:
            # RuntimeError: another version of Optuna has made its tables.
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
        self._writer = Writer(self.shown, _Transactions(self._storage, self._study), patience)
        # Instead of Optuna's own tries, which would create a trial again that was created.
        told = partial(_tell_what_passes, self.shown)
        sqlalchemy.event.listen(self._storage.engine, "handle_error", told)

    def _read(self) -> None:
        """Read all there is, once what an earlier driver was still committing is there."""
        with _Transactions(self._storage, self._study).transaction():
            self.directions: list[StudyDirection] = self._storage.get_study_directions(self._study)
            self.user_attrs: dict[str, Any] = self._storage.get_study_user_attrs(self._study)
            self.system_attrs: dict[str, Any] = self._storage.get_study_system_attrs(self._study)
            self.trials: list[FrozenTrial] = self._storage.get_all_trials(
                self._study, deepcopy=False
            )

    def written(self, seconds: float | None) -> bool:
        """Return whether all is in the database; see `search.study_writer.Writer.written`."""
        return self._writer.written(seconds)

    def create_trial(self, trial: FrozenTrial) -> None:
        """Write a whole trial in one transaction.

        It fails where the database gives it another number than it has here.
        """

        def create() -> None:
            created = int(self._storage.create_new_trial(self._study, template_trial=trial))
            if self._storage.get_trial_number_from_id(created) != trial.number:
                raise FailedError(
                    f"study: {self.shown}: another program has added a trial to this study while "
                    "the search ran; a search's study is its own"
                )
            self._ids[trial.number] = created

        self._writer.add(create, once=True)

    def set_state(self, trial: int, state: TrialState, values: Sequence[float] | None) -> None:
        """Change a trial's state."""

        def change() -> None:
            if not self._storage.set_trial_state_values(self._ids[trial], state, values):
                raise FailedError(
                    f"study: {self.shown}: another program has begun trial {trial} while the "
                    "search ran; a search's study is its own"
                )

        self._writer.add(change, once=True)

    def set_param(
        self, trial: int, name: str, value: float, distribution: BaseDistribution
    ) -> None:
        """Note a parameter, as the number that stands for it."""
        self._writer.add(
            lambda: self._storage.set_trial_param(self._ids[trial], name, value, distribution),
            once=True,
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


class _Transactions:
    """Optuna's storage, which commits after every call, as a writer needs it.

    Used by one thread, the only one that uses the storage meanwhile.
    """

    def __init__(self, storage: RDBStorage, study: int):
        self._storage = storage
        self._study = study

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Let Optuna's sessions join one transaction, which their own commits leave open."""
        alone = self._storage.scoped_session
        with self._storage.engine.begin() as connection:
            if self._storage.engine.name == "postgresql":
                connection.execute(LIMITS)
            if self._storage.engine.name != "sqlite":
                connection.execute(LOCK, {"study": self._study})
            joined = sessionmaker(connection, join_transaction_mode="rollback_only")
            self._storage.scoped_session = scoped_session(joined)
            try:
                yield
            finally:
                self._storage.scoped_session = alone

    def mark(self, word: str) -> None:
        """Write a word to the study."""
        self._storage.set_study_system_attr(self._study, MARK, word)

    def marked(self) -> str | None:
        """Return the word that was written last."""
        found: str | None = self._storage.get_study_system_attrs(self._study).get(MARK)
        return found


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


def _tell_what_passes(shown: str, context: ExceptionContext) -> None:
    """Raise AwayError for what passes by itself, FailedError for all else.

    Optuna lets both through as they are. Others it tries again or swallows, in a transaction that
    is over by then.
    """
    if context.is_pre_ping:
        return  # SQLAlchemy connects anew.
    error = context.sqlalchemy_exception
    operational = isinstance(error, OperationalError | InterfaceError)
    text = str(context.original_exception)
    stays = any(wrong in text for wrong in STAYS_WRONG)
    said = first_line(context.original_exception)
    codes = (getattr(context.original_exception, name, None) for name in ("sqlstate", "pgcode"))
    if READ_ONLY in codes:
        context.is_disconnect = True  # So that the next try is at a connection of its own.
    if context.is_disconnect or (operational and not stays):
        raise AwayError(said)
    raise FailedError(f"study: {shown}: {said}")

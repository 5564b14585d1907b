"""Writes to a database in the order of the calls, in a thread that waits where it is away.

What has come together meanwhile is one transaction: it is commits that a slow disk takes time for.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any, NamedTuple, Protocol
from uuid import uuid4

import optuna
from sqlalchemy.exc import SQLAlchemyError

from search.errors import FailedError
from search.plain_text import first_line

SILENT_SECONDS = 30.0
"""After which it is said that a database takes its time, which no time-out of a driver notices."""

IDLE_SECONDS = 5.0
"""After which a thread without work ends."""

TOGETHER = 64
"""Calls in one transaction, at most: for so long others wait for the database."""

REFUSALS = (SQLAlchemyError, optuna.exceptions.OptunaError, KeyError, ValueError, RuntimeError)
"""What a database raises, and what Optuna does of a study that somebody else has changed."""

log = logging.getLogger("metasweep")


class AwayError(Exception):
    """The database does not answer, or cannot write now."""


class _RefusedError(Exception):
    """A call was refused, and its transaction undone.

    error: with which it was. before: how many calls of the transaction came first.
    """

    def __init__(self, error: Exception, before: int):
        super().__init__(error, before)
        self.error, self.before = error, before


@dataclass(frozen=True)
class Patience:
    """How long a database is waited for, in seconds: at most, between the first tries, the last."""

    most: float = 600.0
    first: float = 0.25
    longest: float = 10.0
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic


PATIENT = Patience()


class Transactions(Protocol):
    """What a writer needs of a database."""

    def transaction(self) -> AbstractContextManager[None]:
        """Commit what is called within all together; raises AwayError where that passes.

        It begins when all before it have ended, even one whose connection was lost.
        """

    def mark(self, word: str) -> None:
        """Write a word, in place of the one before, within a transaction."""

    def marked(self) -> str | None:
        """Return the word that was written last."""


class _Write(NamedTuple):
    call: Callable[[], Any]
    once: bool


class Writer:
    """Writes one after another, each until the database takes it.

    Where the database went away in the middle, it is asked what it holds before anything is
    repeated: a commit may have succeeded although its answer was lost. Each transaction with a call
    that must not be repeated leaves a word of its own there for that. What came before a call that
    the database refuses is written; nothing follows it.
    shown: the database's address, without a password.
    """

    def __init__(self, shown: str, database: Transactions, patience: Patience):
        self._shown = shown
        self._database = database
        self._patience = patience
        self._writes: deque[_Write] = deque()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._late = False
        self._trying_since: float | None = None
        self._error: Exception | None = None
        self._closed = False

    def add(self, call: Callable[[], Any], once: bool = False) -> None:
        """Have `call` made after all calls before, in a thread; return at once.

        call: raises FailedError where the database does not hold what it should.
        once: whether it must not be made again where it has succeeded.
        """
        with self._changed:
            if self._error is not None or self._closed:
                return  # Nothing follows what was not written.
            self._writes.append(_Write(call, once))
            if self._thread is None:
                thread = threading.Thread(target=self._work, name="study", daemon=True)
                thread.start()
                self._thread = thread
            self._changed.notify_all()

    def written(self, seconds: float | None = None) -> bool:
        """Wait until all is written, and return whether it is.

        seconds: to wait at most, and not at all once the database is known to be away or to take
            longer, until it has caught up; None for no limit.
        Raises FailedError, then and ever after, when the database has stayed away for longer than
        the patience, or refuses for good.
        """
        with self._changed:
            if seconds is None:
                while not self._changed.wait_for(self._at_rest, 1.0):
                    self._check_silence()
            elif not self._changed.wait_for(lambda: self._late or self._at_rest(), seconds):
                self._late = True
            self._check_silence()
            if self._error is not None:
                raise self._error
            return not self._writes

    def close(self) -> None:
        """Begin no other write; what is not written is given up."""
        with self._changed:
            self._closed = True
            self._writes.clear()
            self._changed.notify_all()

    def _at_rest(self) -> bool:
        return not self._writes or self._error is not None

    def _check_silence(self) -> None:
        """Give up on a call that neither returns nor fails: its thread may hang in it for ever."""
        since, most = self._trying_since, self._patience.most
        if since is not None and self._patience.clock() - since >= most:
            self._fail(self._failed(f"it has not answered for {most:g} s"))

    def _work(self) -> None:
        while True:
            with self._changed:
                if not self._changed.wait_for(lambda: self._writes or self._closed, IDLE_SECONDS):
                    self._thread = None
                    return
                if self._closed or self._error is not None:
                    return
                writes = list(islice(self._writes, TOGETHER))
            try:
                self._up_to_a_refusal(writes)
            except AwayError:
                return  # Closed meanwhile.
            except Exception as error:
                self._fail(self._told(error))
                return
            with self._changed:
                if self._writes:  # Not closed meanwhile.
                    for _ in writes:
                        self._writes.popleft()
                self._late = self._late and bool(self._writes)
                self._changed.notify_all()

    def _fail(self, error: Exception) -> None:
        with self._changed:
            self._error = self._error or error
            self._writes.clear()
            self._changed.notify_all()

    def _up_to_a_refusal(self, writes: Sequence[_Write]) -> None:
        """Write all, or what comes before a call that is refused, which is raised then."""
        try:
            self._patiently(writes)
        except _RefusedError as refused:
            if refused.before:
                self._up_to_a_refusal(writes[: refused.before])
            raise refused.error from None

    def _patiently(self, writes: Sequence[_Write]) -> None:
        """Write until the database answers."""
        began: float | None = None
        pause = self._patience.first
        word = uuid4().hex if any(write.once for write in writes) else None
        while True:
            try:
                self._tried(partial(self._together, writes, word, began is not None))
            except AwayError as error:
                now = self._patience.clock()
                if began is None:
                    began = now
                    self._away(error)
                if now - began >= self._patience.most:
                    raise self._failed(f"{error}, for {self._patience.most:g} s") from error
                self._patience.sleep(pause)
                pause = min(2 * pause, self._patience.longest)
                if self._closed or self._error is not None:
                    raise
            else:
                if began is not None:
                    self._back(began)
                return

    def _together(self, writes: Sequence[_Write], word: str | None, again: bool) -> None:
        """Write in one transaction, unless a try before has."""
        with self._database.transaction():
            if again and word is not None and self._database.marked() == word:
                return
            for before, write in enumerate(writes):
                self._trying_since = self._patience.clock()  # It is each call that must answer.
                try:
                    write.call()
                except AwayError:
                    raise
                except Exception as error:
                    raise _RefusedError(error, before) from error
            if word is not None:
                self._database.mark(word)

    def _tried(self, call: Callable[[], None]) -> None:
        """Call once, and say so if that takes long: a server that is stopped does not even fail."""
        text = "study: %s has not answered for %.0f s; it is waited for, and running trials go on"
        timer = threading.Timer(SILENT_SECONDS, log.warning, (text, self._shown, SILENT_SECONDS))
        timer.daemon = True
        timer.start()
        began = self._trying_since = self._patience.clock()
        try:
            call()
        finally:
            self._trying_since = None
            timer.cancel()
        if self._patience.clock() - began >= SILENT_SECONDS:
            self._back(began)

    def _away(self, error: AwayError) -> None:
        log.warning(
            "study: %s is away: %s\nIt is waited for, up to %.0f s. Running trials go on, and what "
            "they tell is written when it is back; new ones are begun then.",
            self._shown,
            error,
            self._patience.most,
        )
        with self._changed:
            self._late = True
            self._changed.notify_all()

    def _back(self, began: float) -> None:
        away = self._patience.clock() - began
        log.warning("study: %s is back after %.0f s", self._shown, away)

    def _told(self, error: Exception) -> Exception:
        """Return what a user is told of a refusal; a mistake of ours stays what it is."""
        if isinstance(error, FailedError) or not isinstance(error, REFUSALS):
            return error
        if isinstance(error, SQLAlchemyError | optuna.exceptions.StorageInternalError):
            told = self._failed(reason_of(error))
        else:
            told = self._failed(f"{type(error).__name__}: {first_line(error)}")
        told.__cause__ = error
        return told

    def _failed(self, reason: str) -> FailedError:
        return FailedError(f"study: {self._shown}: {reason}")


def reason_of(error: BaseException) -> str:
    """Return one line on what the database said, which Optuna keeps as the cause."""
    cause = error.__cause__ if isinstance(error, optuna.exceptions.StorageInternalError) else None
    return first_line(cause or error)

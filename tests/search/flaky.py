"""A real database whose commits fail on command, below SQLAlchemy."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from search.study import SearchStudy

PERIOD = 3
"""One commit in so many fails: a repeated call reads first, and each read ends with a commit."""


class Flaky:
    """Lets one commit in three of a study's database fail.

    lost: the database has committed, and only its answer is lost; otherwise it has not.
    offset: which of the three.
    """

    def __init__(self, study: SearchStudy, *, lost: bool, offset: int) -> None:
        self.failed = 0
        self.commits = 0
        self._lost, self._offset = lost, offset
        dialect = study._storage._database._storage.engine.dialect
        self._commit: Callable[[Any], None] = dialect.do_commit
        dialect.do_commit = self._fail_at_times

    def _fail_at_times(self, connection: Any) -> None:
        self.commits += 1
        fails = self.commits % PERIOD == self._offset
        if self._lost or not fails:
            self._commit(connection)
        if fails:
            self.failed += 1
            raise sqlite3.OperationalError("the connection was lost\nat a bad moment")


class Outage:
    """Lets every commit of a study's database fail, or hang, while told to."""

    def __init__(self, study: SearchStudy) -> None:
        self.away = False
        self.failed = 0
        self._passes = threading.Event()
        self._passes.set()
        dialect = study._storage._database._storage.engine.dialect
        self._commit: Callable[[Any], None] = dialect.do_commit
        dialect.do_commit = self._fail_meanwhile

    def end(self) -> None:
        self.away = False

    @contextmanager
    def hanging(self) -> Iterator[None]:
        self._passes.clear()
        try:
            yield
        finally:
            self._passes.set()

    def _fail_meanwhile(self, connection: Any) -> None:
        self._passes.wait()
        if self.away:
            self.failed += 1
            raise sqlite3.OperationalError("connection refused")
        self._commit(connection)

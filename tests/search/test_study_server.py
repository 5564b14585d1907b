"""A study in a real PostgreSQL server that is restarted, or goes down, while a search runs."""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest
import sqlalchemy

from search import study_database, study_writer
from search.errors import UserError
from search.study import CONFIG, Halving, SearchStudy
from search.study_writer import AwayError, Patience
from tests.cli import wait_until
from tests.servers import Postgres, postgres

pytestmark = pytest.mark.cluster

RUNG = 10
PASSWORD = "p@ss/w%rd:4711"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    with postgres(tmp_path_factory.mktemp("server"), PASSWORD) as running:
        yield running


@contextmanager
def opened(url: str, patience: Patience | None = None) -> Iterator[SearchStudy]:
    patience = patience or Patience(first=0.05)
    study = SearchStudy("test", url, "minimize", Halving(RUNG, 3), 0, patience)
    yield study
    study.close()


def begin(study: SearchStudy) -> int:
    trial = study.ask()
    trial.suggest_float("x", 0.0, 1.0)
    study.annotate(trial.number, CONFIG, {"number": trial.number})
    return trial.number


@pytest.mark.parametrize("crash", [False, True])
def test_a_server_that_is_down_is_waited_for(
    server: Postgres, caplog: pytest.LogCaptureFixture, crash: bool
) -> None:
    naps = []

    def sleep(seconds: float) -> None:
        naps.append(seconds)
        if len(naps) == 3:
            server.start()

    url = server.create_database(f"down-{crash}")
    with opened(url, Patience(sleep=sleep)) as study:
        first = begin(study)
        assert study.written()
        server.stop(crash=crash)
        with caplog.at_level(logging.WARNING):
            study.report(first, RUNG, 0.5)
            study.tell(first, "COMPLETE", 0.5, "")
            assert study.written()
    assert len(naps) >= 3
    away, back = [record.getMessage() for record in caplog.records]
    assert "***@127.0.0.1" in away
    assert "is back after" in back
    assert not any(secret in caplog.text for secret in (PASSWORD, "p%40ss", "4711"))
    with opened(url) as study:
        (trial,) = study.trials()
    assert (trial.state.name, trial.value) == ("COMPLETE", 0.5)
    assert trial.intermediate_values == {RUNG: 0.5}


def test_a_server_that_does_not_answer_is_told_of(
    server: Postgres, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(study_writer, "SILENT_SECONDS", 0.2)
    with opened(server.create_database("frozen")) as study, caplog.at_level(logging.WARNING):
        first = begin(study)
        assert study.written()
        caplog.clear()  # A busy machine's server may have been as slow before.
        with server.frozen():
            study.report(first, RUNG, 0.5)
            assert not study.written(0.5)
            began = time.monotonic()
            assert not study.written(60.0)  # It is known by then, and not waited for.
            assert time.monotonic() - began < 30
            wait_until(lambda: bool(caplog.records), 20, "a warning")
        assert study.written()
        assert study.written(0.0)
        assert study.intermediate_values(first) == {RUNG: 0.5}
    told, back = [record.getMessage() for record in caplog.records]
    assert "***@127.0.0.1" in told
    assert "has not answered for 0 s; it is waited for" in told
    assert "is back after" in back


def test_restarts_neither_lose_nor_double_a_trial(server: Postgres) -> None:
    url = server.create_database("restarted")

    def restart() -> None:
        for crash in (False, True):
            time.sleep(0.5)
            server.restart(crash=crash)

    other = threading.Thread(target=restart)
    count = 0
    with opened(url) as study:
        study.enqueue({"x": 0.125})
        other.start()
        while other.is_alive() or count < 30:
            number = begin(study)
            assert number == count
            study.report(number, RUNG, 0.5 + number / 1000)
            study.tell(number, "COMPLETE", 0.25 + number / 1000, "")
            assert study.written()
            count += 1
    other.join()
    with opened(url) as study:
        stored = study.trials()
    assert [trial.number for trial in stored] == list(range(count))
    for trial in stored:
        assert trial.state.name == "COMPLETE"
        assert trial.value == 0.25 + trial.number / 1000
        assert trial.intermediate_values == {RUNG: 0.5 + trial.number / 1000}
        assert trial.user_attrs[CONFIG] == {"number": trial.number}
    assert len({trial.params["x"] for trial in stored}) == count
    assert stored[0].params == {"x": 0.125}


@contextmanager
def connected(url: str) -> Iterator[psycopg.Connection]:
    """A session of another program."""
    with psycopg.connect(url.replace("+psycopg", "", 1), autocommit=True) as connection:
        yield connection


def test_a_study_is_read_once_what_was_being_committed_is_there(server: Postgres) -> None:
    url = server.create_database("committing")
    with opened(url) as study:
        begin(study)
        assert study.written()
    with connected(url) as other:
        other.execute("BEGIN")
        other.execute("SELECT study_id FROM studies FOR UPDATE")
        other.execute("UPDATE trials SET state = 'FAIL'")
        timer = threading.Timer(1.0, other.execute, ("COMMIT",))
        timer.start()
        with opened(url) as study:
            assert [trial.state.name for trial in study.trials()] == ["FAIL"]
        timer.join()


def test_a_driver_that_is_gone_does_not_hold_a_study_for_long(
    server: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after its machine has lost its power in the middle of a transaction."""
    short = str(study_database.LIMITS).replace("'45s'", "'1s'")
    assert short != str(study_database.LIMITS)
    monkeypatch.setattr(study_database, "LIMITS", sqlalchemy.text(short))
    url = server.create_database("gone")
    with opened(url) as study:
        begin(study)
        assert study.written()
        gone = study._storage._database._writer._database.transaction()
        gone.__enter__()
        with opened(url) as later:
            assert begin(later) == 1
            assert later.written()
        with pytest.raises(AwayError, match="idle-in-transaction"):  # It would be tried again.
            study._storage._database._writer._database.marked()
        gone.__exit__(None, None, None)


def test_a_server_that_takes_no_writes_for_a_while_is_waited_for(
    server: Postgres, caplog: pytest.LogCaptureFixture
) -> None:
    """As one that another takes over from, until connections lead there."""
    name = "handed_over"
    url = server.create_database(name)

    def takes_writes(whether: str) -> None:
        with connected(url) as other:
            other.execute("SET default_transaction_read_only = off")
            other.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = {whether}")
            query = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            other.execute(f"{query} WHERE datname = '{name}' AND pid != pg_backend_pid()")

    naps = []

    def sleep(seconds: float) -> None:
        naps.append(seconds)
        if len(naps) == 3:
            takes_writes("off")

    with opened(url, Patience(sleep=sleep)) as study:
        first = begin(study)
        assert study.written()
        takes_writes("on")
        with caplog.at_level(logging.WARNING):
            study.tell(first, "COMPLETE", 0.5, "")
            assert study.written()
    assert len(naps) >= 3
    assert "read-only transaction" in caplog.text
    with opened(url) as study:
        assert [trial.state.name for trial in study.trials()] == ["COMPLETE"]


def test_a_wrong_password_is_told_at_once(server: Postgres) -> None:
    wrong = server.url.replace("4711", "4712")
    began = time.monotonic()
    with pytest.raises(UserError, match="password authentication failed") as raised:
        SearchStudy("test", wrong, "minimize", Halving(RUNG, 3), 0)
    assert "4712" not in str(raised.value)
    assert time.monotonic() - began < 60  # not the patience of a search that runs


def test_a_server_that_vanishes_is_noticed_by_the_connection(server: Postgres) -> None:
    """Nobody can pull a plug here: the kernel is asked what it does if someone does."""
    with opened(server.create_database("vanished")) as study:
        engine = study._storage._database._storage.engine
        with engine.connect() as connection:
            descriptor = connection.connection.driver_connection.fileno()
            with socket.socket(fileno=os.dup(descriptor)) as own:
                assert own.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
                idle, interval, count, unanswered = (
                    own.getsockopt(socket.IPPROTO_TCP, option)
                    for option in (
                        socket.TCP_KEEPIDLE,
                        socket.TCP_KEEPINTVL,
                        socket.TCP_KEEPCNT,
                        socket.TCP_USER_TIMEOUT,
                    )
                )
    assert idle + interval * count <= 60
    assert 0 < unanswered <= 60_000

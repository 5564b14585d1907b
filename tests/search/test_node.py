from __future__ import annotations

import json
import socket
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from search import launch
from search.node import NODE_FILE, Expected, file_stores, loopback, unfit
from search.versions import versions_here
from tests.cli import free_port

HERE, ELSEWHERE = "a" * 8, "b" * 8


@pytest.fixture
def expected(tmp_path: Path) -> Expected:
    (tmp_path / NODE_FILE).write_text(json.dumps({"run_id": "mine"}))
    return Expected(HERE, str(tmp_path), "mine", None, "", versions_here(), [])


class Sleeps:
    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self, seconds: float) -> None:
        self.seconds += seconds


def test_a_node_that_is_like_the_drivers_is_fit(expected: Expected) -> None:
    assert unfit(expected, HERE) == ""
    assert unfit(expected, ELSEWHERE) == ""
    assert Expected.from_json(expected.to_json()) == expected


@pytest.mark.parametrize("content", [None, "{", '{"run_id": "of another search"}'])
def test_a_folder_that_the_node_does_not_share_is_named(
    expected: Expected, content: str | None
) -> None:
    file = Path(expected.folder) / NODE_FILE
    file.unlink() if content is None else file.write_text(content)
    sleeps = Sleeps()
    message = unfit(expected, ELSEWHERE, sleeps)
    assert f"--storage: {expected.folder}: not to be seen there; give a folder" in message
    assert sleeps.seconds == 5.0
    # The driver's own node has the folder by definition.
    assert unfit(expected, HERE) == ""


def test_a_folder_that_shows_up_late_is_waited_for(expected: Expected) -> None:
    file = Path(expected.folder) / NODE_FILE
    hidden = file.rename(file.with_suffix(".hidden"))

    def appear(seconds: float) -> None:
        if hidden.exists():
            hidden.rename(file)

    assert unfit(expected, ELSEWHERE, appear) == ""


def test_other_versions_are_named(expected: Expected) -> None:
    other = replace(expected, versions=expected.versions | {"ray": "1.0.0", "torch": "1.2.3"})
    for node in (HERE, ELSEWHERE):
        message = unfit(other, node)
        assert "versions differ" in message
        assert "1.0.0" in message
        assert "1.2.3" in message


def test_data_that_are_not_there_are_named(expected: Expected) -> None:
    missing = replace(expected, data="/no/such/data")
    assert "--data: /no/such/data: no such folder there" in unfit(missing, ELSEWHERE)


@pytest.mark.parametrize(
    ("uri", "what"),
    [
        ("sqlite:////here/mlflow.db", "a SQLite file"),
        ("sqlite+pysqlite:////here/mlflow.db", "a SQLite file"),
        ("file:///here/mlruns", "a folder of files"),
        ("/here/mlruns", "a folder of files"),
    ],
)
def test_files_cannot_be_stores_of_several_nodes(expected: Expected, uri: str, what: str) -> None:
    lines = file_stores(uri, "sqlite:////here/study.db")
    assert [line.split(":")[0] for line in lines] == ["--tracking-uri", "study_url"]
    assert f"{uri}: {what} cannot be shared by several nodes" in lines[0]
    assert "http://" in lines[0]
    assert "METASWEEP_STUDY_URL" in lines[1]
    alone = replace(expected, file_stores=lines)
    assert unfit(alone, HERE) == ""
    assert all(line in unfit(alone, ELSEWHERE) for line in lines)


def test_servers_can_be_stores_of_several_nodes() -> None:
    for uri in ("http://host:5000", "https://host", "postgresql+psycopg://host/mlflow"):
        assert file_stores(uri, "postgresql+psycopg://host/optuna") == []


@pytest.mark.parametrize(
    ("uri", "address"),
    [
        ("http://127.0.0.1:5000", "127.0.0.1:5000"),
        ("http://user:password@localhost:5000/mlflow", "localhost:5000"),
        ("https://[::1]", "::1:443"),
        ("postgresql+psycopg://127.0.0.2/mlflow", "127.0.0.2:5432"),
        ("http://0.0.0.0:5000", "0.0.0.0:5000"),
        ("http://mlflow.localhost", "mlflow.localhost:80"),
        ("http://localhost:port", ""),  # The store itself refuses it.
        ("http://10.0.0.1:5000", ""),
        ("https://mlflow.example.org", ""),
        ("sqlite:////here/mlflow.db", ""),
        ("file:///here/mlruns", ""),
    ],
)
def test_an_address_that_each_machine_takes_for_its_own_is_known(uri: str, address: str) -> None:
    assert loopback(uri) == address


def test_such_an_address_must_answer_on_other_nodes(expected: Expected) -> None:
    address = f"127.0.0.1:{free_port()}"
    own, sleeps = replace(expected, loopback=address), Sleeps()
    assert unfit(own, HERE, sleeps) == ""
    message = unfit(own, ELSEWHERE, sleeps)
    assert f"--tracking-uri: {address}: nobody answers there, since" in message
    assert sleeps.seconds == 30.0
    with socket.create_server(("127.0.0.1", 0)) as server:
        # As on nodes that stand before the same server, each with a way to it of its own.
        there = replace(expected, loopback=f"127.0.0.1:{server.getsockname()[1]}")
        assert unfit(there, ELSEWHERE) == ""


def test_each_node_is_asked_about_the_address_that_the_search_was_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launch, "own_node", lambda: HERE)
    folder, problem = SimpleNamespace(path=tmp_path), SimpleNamespace(data_digest="")
    record = SimpleNamespace(run_id="mine", data=None)
    given: Any = (folder, record, problem)
    asked = launch._expected(*given, "http://localhost:5000", "postgresql://host/optuna")
    assert (asked.loopback, asked.file_stores) == ("localhost:5000", [])

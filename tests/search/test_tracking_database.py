"""A database of MLflow's is read without MLflow, and says what MLflow's client says."""

from __future__ import annotations

import contextlib
import math
import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import sqlalchemy

from search import tracking_database
from search.config import Config
from search.errors import StoreError, UserError
from search.leaderboard import standing
from search.tracking import Tracker
from search.tracking_client import connect
from search.tracking_reader import Reader
from tests.cli import call
from tests.search.small_runs import small_config
from tests.servers import empty_store, postgres

# mlflow 3.17 maps its tables in a way that SQLAlchemy 2.1 deprecates.
pytestmark = pytest.mark.filterwarnings(
    "ignore:The ``noload`` loader strategy:sqlalchemy.exc.SADeprecationWarning"
)

VALUES = {"validation_mean": 0.5, "episodes": 24.0, "train_seconds": 0.1}
VALUES |= {"test_mean": math.inf, "test_ci95_low": -math.inf, "test_n": 3.0}
"""Infinite ones are logged one by one: `Tracker.finish_trial` leaves them out."""
EPISODES = [(0, 0.25), (1, math.nan), (2, math.inf), (7, -1.5)]
KEY = "episode/test/query_loss_after"


@pytest.fixture(
    scope="module", params=["sqlite", pytest.param("postgresql", marks=pytest.mark.cluster)]
)
def uri(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("store")
    if request.param == "sqlite":
        empty_store(folder / "mlflow.db")
        yield f"sqlite:///{folder / 'mlflow.db'}"
    else:
        with postgres(folder) as server:
            yield server.create_database("mlflow")


@pytest.fixture(scope="module")
def recorded(uri: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Record two searches and a training of one problem, and some of others; return run ids."""
    tracker = Tracker(uri, tmp_path_factory.mktemp("artifacts"))
    client = connect(uri)
    config = small_config(inner_lr=0.125, rungs=(8,))
    runs = {}
    for name in ("first", "First", "gone"):
        runs[name] = tracker.start_search(config.problem, name, {}, seed=0)
    of = {"search_name": "first", "search_run_id": runs["first"]}
    for number in range(3):
        seeded = replace(config, seed=number)
        runs[f"trial {number}"] = tracker.start_trial(seeded, "trial", number, **of)
    runs["again"] = tracker.start_trial(config, "confirmation", 0, of_run=runs["trial 0"], **of)
    tracker.finish_trial(runs["trial 0"], "COMPLETE", summaries=VALUES)
    for key, value in VALUES.items():
        client.log_metric(runs["trial 0"], f"summary/{key}", value)
    tracker.finish_trial(runs["again"], "COMPLETE", summaries={**VALUES, "test_mean": 0.25})
    for step in range(3):
        client.log_metric(runs["again"], KEY, 0.125 * step, step=step)
    tracker.finish_trial(runs["trial 1"], "FAIL", "it's \"50 %\" of 'that'; --")
    for step, value in EPISODES:
        client.log_metric(runs["trial 0"], KEY, value, timestamp=step, step=step)
    client.log_metric(runs["trial 0"], "other", 1.0)
    client.delete_run(runs["trial 2"])
    of = {"search_name": "First", "search_run_id": runs["First"]}
    runs["elsewhere"] = tracker.start_trial(config, "trial", 0, **of)
    runs["alone"] = tracker.start_trial(config, "train", 0)
    client.delete_run(runs["gone"])
    other = replace(config, problem=replace(config.problem, shots=3))
    runs["deleted"] = tracker.start_search(other.problem, "deleted", {}, seed=0)
    client.delete_experiment(client.get_run(runs["deleted"]).info.experiment_id)
    return runs


def readers(uri: str) -> tuple[Reader, Reader]:
    """Return a reader of the database, and one that asks MLflow's client."""
    ours, theirs = Reader(uri), Reader(uri)
    assert ours._database is not None
    theirs._database = None
    return ours, theirs


@pytest.mark.parametrize("name", ["first", "First", "sinusoid-5shot"])
def test_finds_what_the_client_finds(uri: str, recorded: dict[str, str], name: str) -> None:
    ours, theirs = readers(uri)
    found, expected = ours.trials(name), theirs.trials(name)
    pd.testing.assert_frame_equal(found, expected)
    assert ours._connected is None
    below = {"first": {"trial 0", "trial 1", "again"}, "First": {"elsewhere"}}
    everything = {"trial 0", "trial 1", "again", "elsewhere", "alone"}
    assert set(found["run_id"]) == {recorded[run] for run in below.get(name, everything)}
    if name != "First":
        row = found.set_index("run_id").loc[recorded["trial 0"]]
        assert {key: row[key] for key in VALUES} == VALUES
        assert row["params"]["maml/inner_lr"] == "0.125"


@pytest.mark.parametrize("name", ["first", "First", "FIRST", "gone", "deleted", "no'such", "%", ""])
def test_a_search_is_known_by_its_whole_name(uri: str, recorded: dict[str, str], name: str) -> None:
    ours, theirs = readers(uri)
    found = ours.find_search(name)
    assert found == theirs.find_search(name)
    assert found == (recorded[name] if name in ("first", "First") else None)


@pytest.mark.parametrize("name", ["FIRST", "gone", "deleted", "sinusoid-3shot", "no'such"])
@pytest.mark.usefixtures("recorded")
def test_what_is_not_there_is_told_as_by_the_client(uri: str, name: str) -> None:
    told = []
    for reader in readers(uri):
        try:
            told.append(str(reader.trials(name).empty))
        except UserError as error:
            told.append(str(error))
    assert told[0] == told[1]


@pytest.mark.parametrize("run", ["trial 0", "trial 1"])
def test_episodes_are_those_of_the_client(uri: str, recorded: dict[str, str], run: str) -> None:
    ours, theirs = readers(uri)
    [found] = ours.test_values_of([recorded[run]], "query_loss")
    [expected] = theirs.test_values_of([recorded[run]], "query_loss")
    pd.testing.assert_series_equal(found, expected)
    assert list(found.index) == ([step for step, _ in EPISODES] if run == "trial 0" else [])


def test_a_trial_that_ends_meanwhile_has_its_summaries(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, config: Config
) -> None:
    """Between two of the questions; a board of complete trials without numbers would be wrong."""
    empty_store(tmp_path / "mlflow.db")
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    tracker = Tracker(uri, tmp_path)
    search = tracker.start_search(config.problem, "first", {}, seed=0)
    of = {"search_name": "first", "search_run_id": search}
    trials = [tracker.start_trial(config, "trial", number, **of) for number in range(12)]
    ending = iter(trials)
    rows = tracking_database.Database._rows

    def meanwhile(database: tracking_database.Database, query: sqlalchemy.Select) -> object:
        found = rows(database, query)
        if (run_id := next(ending, None)) is not None:
            tracker.finish_trial(run_id, "COMPLETE", summaries={"validation_mean": 0.5})
        return found

    monkeypatch.setattr(tracking_database.Database, "_rows", meanwhile)
    frame = Reader(uri).trials("first").set_index("run_id")
    assert next(ending, None) is not None, "no trial was left to end"
    complete = frame[frame["state"] == "COMPLETE"]
    assert 0 < len(complete) < len(trials)
    assert (complete["validation_mean"] == 0.5).all()


def test_a_file_that_is_no_database_is_told_of(tmp_path: Path) -> None:
    file = tmp_path / "mlflow.db"
    file.write_text("not a database" * 100)
    with pytest.raises(StoreError, match="file is not a database"):
        Reader(f"sqlite:///{file}")


def test_tables_of_others_are_left_to_the_client(tmp_path: Path) -> None:
    file = tmp_path / "other.db"
    with sqlite3.connect(file) as connection:
        connection.execute("create table runs (run_uuid)")
    connection.close()
    assert tracking_database.opened(f"sqlite:///{file}") is None


def test_what_is_missing_is_not_made(tmp_path: Path) -> None:
    assert tracking_database.opened(f"sqlite:///{tmp_path / 'mlflow.db'}") is None
    assert list(tmp_path.iterdir()) == []
    assert tracking_database.opened("http://127.0.0.1:1") is None


@pytest.mark.parametrize("enabled", [False, True])
def test_experiments_of_workspaces_are_left_to_the_client(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, enabled: bool
) -> None:
    file = tmp_path / "mlflow.db"
    empty_store(file)
    assert tracking_database.opened(f"sqlite:///{file}") is not None
    if enabled:
        monkeypatch.setenv("MLFLOW_ENABLE_WORKSPACES", "true")
    else:
        with sqlite3.connect(file) as connection:
            with contextlib.suppress(sqlite3.OperationalError):  # There is one by now.
                connection.execute("alter table experiments add column workspace")
            connection.execute("update experiments set workspace = 'of another team'")
        connection.close()
    assert tracking_database.opened(f"sqlite:///{file}") is None


def test_a_store_that_mlflow_refuses_stops_a_search_at_once(tmp_path: Path) -> None:
    """It can be read, but nothing could be recorded in it."""
    file = tmp_path / "mlflow.db"
    empty_store(file)
    with sqlite3.connect(file) as connection:
        connection.execute("update alembic_version set version_num = '0'")
    connection.close()
    done = call("search", "sinusoid", folder=tmp_path)
    assert done.code == 1, done.output
    assert "Traceback" not in done.output
    assert "database schema" in done.errors
    assert f"mlflow db upgrade sqlite:///{file}" in done.errors
    assert not (tmp_path / "metasweep-store").exists()


def test_a_leaderboard_stands_on_it(uri: str, recorded: dict[str, str]) -> None:
    boards = [
        standing(reader.trials("first"), "first", reader.test_values_of) for reader in readers(uri)
    ]
    pd.testing.assert_frame_equal(boards[0].ranked, boards[1].ranked)
    pd.testing.assert_frame_equal(boards[0].failed, boards[1].failed)
    assert list(boards[0].failed["run_id"]) == [recorded["trial 1"]]
    assert boards[0].ranked["test_mean"].item() == pytest.approx(0.125)

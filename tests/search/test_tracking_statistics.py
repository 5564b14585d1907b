from __future__ import annotations

import sqlite3
from pathlib import Path

from search.tracking_statistics import keep_statistics

HISTORY = "EXPLAIN QUERY PLAN SELECT * FROM metrics WHERE run_uuid = 'r1' AND key = 'loss'"


def add(database: Path, runs: range) -> None:
    """Add runs with values of two metrics, as mlflow's tables hold them."""
    with sqlite3.connect(database) as connection:
        connection.execute(
            "CREATE TABLE IF NOT EXISTS metrics (key TEXT, value FLOAT, timestamp BIGINT, "
            "run_uuid TEXT, step BIGINT, is_nan BOOLEAN, "
            "PRIMARY KEY (key, timestamp, step, run_uuid, value, is_nan))"
        )
        connection.execute(
            "CREATE INDEX IF NOT EXISTS by_run ON metrics (run_uuid, key, step)",
        )
        rows = [
            (key, 0.5, step, f"r{run}", step, 0)
            for run in runs
            for key in ("loss", "accuracy")
            for step in range(50)
        ]
        connection.executemany("INSERT INTO metrics VALUES (?, ?, ?, ?, ?, ?)", rows)
    connection.close()


def plan(database: Path) -> str:
    connection = sqlite3.connect(database)
    try:
        return str(connection.execute(HISTORY).fetchall())
    finally:
        connection.close()


def test_a_history_is_read_by_its_run(tmp_path: Path) -> None:
    database = tmp_path / "mlflow.db"
    add(database, range(40))
    assert "by_run" not in plan(database)
    assert keep_statistics(f"sqlite:///{database}")
    assert "by_run" in plan(database)


def test_are_renewed_when_the_table_has_grown(tmp_path: Path) -> None:
    database = tmp_path / "mlflow.db"
    uri = f"sqlite:///{database}"
    add(database, range(4))
    assert keep_statistics(uri)
    assert not keep_statistics(uri)
    add(database, range(4, 7))
    assert not keep_statistics(uri)
    add(database, range(7, 9))
    assert keep_statistics(uri)
    assert not keep_statistics(uri)


def test_what_cannot_be_written_is_left_alone(tmp_path: Path) -> None:
    database = tmp_path / "mlflow.db"
    add(database, range(4))
    busy = sqlite3.connect(database, timeout=0)
    busy.execute("BEGIN EXCLUSIVE")
    try:
        assert not keep_statistics(f"sqlite:///{database}?timeout=0")
    finally:
        busy.close()
    (tmp_path / "no.db").write_bytes(b"no database")
    assert not keep_statistics(f"sqlite:///{tmp_path / 'no.db'}")
    # Anything else is asked nothing at all.
    assert not keep_statistics("http://nobody.invalid")

"""A SQLite store of MLflow's is there whole or not at all."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from search import tracking_sqlite
from search.tracking_client import connect

# mlflow 3.17 maps its tables in a way that SQLAlchemy 2.1 deprecates.
pytestmark = pytest.mark.filterwarnings(
    "ignore:The ``noload`` loader strategy:sqlalchemy.exc.SADeprecationWarning"
)

KILLED_AT_TABLE = """
import os, signal, sys
import sqlalchemy
from search.tracking_client import connect

tables = 0

@sqlalchemy.event.listens_for(sqlalchemy.Engine, "before_cursor_execute")
def count(connection, cursor, statement, parameters, context, many):
    global tables
    tables += "CREATE TABLE" in statement
    if tables == int(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)

connect(sys.argv[1])
"""


@pytest.mark.parametrize("table", [6, 30])
def test_a_kill_while_the_tables_are_made_leaves_nothing_in_the_way(
    tmp_path: Path, table: int
) -> None:
    file = tmp_path / "mlflow.db"
    uri = f"sqlite:///{file}"
    command = [sys.executable, "-c", KILLED_AT_TABLE, uri, str(table)]
    killed = subprocess.run(command, capture_output=True, text=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert not file.exists()
    assert connect(uri).search_experiments()[0].name == "Default"
    assert not (tmp_path / "mlflow.db.new").exists()


def test_two_at_once_make_one(tmp_path: Path) -> None:
    file = tmp_path / "deeper" / "mlflow.db"
    threads = [threading.Thread(target=tracking_sqlite.create, args=(file,)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    connection = sqlite3.connect(file)
    assert connection.execute("SELECT count(*) FROM experiments").fetchone() == (1,)
    connection.close()
    assert [path.name for path in file.parent.iterdir()] == ["mlflow.db"]


def test_opening_one_that_is_there_writes_nothing_beside_it(tmp_path: Path) -> None:
    made, file = tmp_path / "made.db", tmp_path / "others" / "mlflow.db"
    tracking_sqlite.create(made)
    file.parent.mkdir()
    made.rename(file)
    assert connect(f"sqlite:///{file}").search_experiments()
    assert [path.name for path in file.parent.iterdir()] == ["mlflow.db"]

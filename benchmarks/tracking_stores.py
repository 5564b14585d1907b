"""The stores that recording is measured with, each started on loopback with an empty database."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.servers import mlflow_server, postgres, postgres_binaries

SQLITE = "SQLite"
SERVER_SQLITE = "MLflow server on SQLite"
POSTGRES = "PostgreSQL"
SERVER_POSTGRES = "MLflow server on PostgreSQL"
STORES = (SQLITE, SERVER_SQLITE, SERVER_POSTGRES, POSTGRES)


@contextmanager
def store(name: str, folder: Path, workers: int = 1) -> Iterator[str]:
    """Run a store, one of `STORES`; yields its tracking URI. Its files lie in `folder`.

    Servers run as the tests run them, PostgreSQL as Debian configures it.
    workers: processes of an MLflow server.
    """
    folder.mkdir(parents=True)
    database = f"sqlite:///{folder / 'mlflow.db'}"
    if name == SQLITE:
        yield database
    elif name == SERVER_SQLITE:
        with mlflow_server(folder, database, folder / "artifacts", workers=workers) as server:
            yield server.url
    else:
        with postgres(folder) as running:
            database = running.create_database("mlflow")
            if name == POSTGRES:
                yield database
            else:
                with mlflow_server(
                    folder, database, folder / "artifacts", workers=workers
                ) as server:
                    yield server.url


def offered() -> tuple[str, ...]:
    """Return the stores that can be started here."""
    return STORES if postgres_binaries() else (SQLITE, SERVER_SQLITE)

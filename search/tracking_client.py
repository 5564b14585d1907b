"""Reaching an MLflow store: which one, whether it answers, and errors that a user can act on."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

# Read when mlflow is imported. A trial must neither report its user's habits to anyone, nor print
# addresses, nor wait the 4 minutes that seven retries take: what is not sent waits on disk.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "30")

import sqlalchemy
from filelock import FileLock

from search import tracking_sqlite
from search.errors import StoreError, UserError
from search.masking import mask

if TYPE_CHECKING:
    from mlflow import MlflowClient

CONNECT_SECONDS = 5
LOCKED_SECONDS = 20
"""For which a SQLite file that others write to is waited for, as MLflow does."""
TURN_SECONDS, TURN_POLL_SECONDS = 120, 0.01
DATABASES = ("sqlite", "postgresql", "mysql", "mssql")
OUR_MISTAKES = (TypeError, AttributeError, NameError, LookupError, AssertionError)
"""What no store raises: to call it a store that is down would hide it."""
SERVERS = ("http", "https")


def resolve_uri(uri: str | None = None) -> str:
    """Return the tracking URI to use, with no part that depends on the current folder.

    The argument, else MLFLOW_TRACKING_URI, else `sqlite:///mlflow.db` in the current folder. Trials
    run in folders of their own, so that a relative path would scatter databases.
    """
    uri = uri or os.environ.get("MLFLOW_TRACKING_URI") or "sqlite:///mlflow.db"
    if uri.startswith("sqlite:///"):
        return "sqlite:///" + str(Path(uri.removeprefix("sqlite:///")).expanduser().absolute())
    if "://" not in uri and not uri.startswith(("file:", "databricks")):
        return Path(uri).expanduser().absolute().as_uri()
    return uri


def is_server(uri: str) -> bool:
    """Say whether a tracking server stands behind a URI, which keeps artifacts by itself."""
    return urlsplit(uri).scheme in SERVERS


def is_database(uri: str) -> bool:
    """Say whether a URI is that of a database, to which MLflow's client connects by itself."""
    return urlsplit(uri).scheme.partition("+")[0] in DATABASES


def connect(uri: str) -> MlflowClient:
    """Return a client of a store that was just seen to answer.

    Raises StoreError within seconds when it cannot be reached, naming it (a password is masked)
    and what to do.
    """
    # Imported here: it takes seconds, and what is read from a database needs none of it.
    from mlflow import MlflowClient

    for chatty in ("alembic", "mlflow.store.db.utils"):
        logging.getLogger(chatty).setLevel(logging.ERROR)
    with explained(uri):
        if is_database(uri):
            _open_database(uri)
        with _impatient():
            client = MlflowClient(tracking_uri=uri)
            client.search_experiments(max_results=1)
    return client


def check(uri: str) -> None:
    """Fail fast, as `connect` does, when a store cannot be reached."""
    connect(uri)


def one_writer(uri: str) -> AbstractContextManager[object]:
    """Have the processes of this machine write to a SQLite store one after the other.

    SQLite itself lets whoever comes first go first by chance: of 16 trials that send their episodes
    at once, some get no turn within the 20 seconds that mlflow waits. Other stores need no turns.
    """
    path = uri.removeprefix("sqlite:///").partition("?")[0]
    if path in (uri, ""):
        return nullcontext()
    return FileLock(f"{path}.lock", timeout=TURN_SECONDS, poll_interval=TURN_POLL_SECONDS)


@contextmanager
def explained(uri: str) -> Iterator[None]:
    """Turn what mlflow, its database or its transport raises into a StoreError, masked."""
    try:
        yield
    except (UserError, *OUR_MISTAKES):
        raise
    except Exception as error:
        # Any other kind: drivers and artifact stores (S3, ...) raise kinds of their own.
        # `from None`: the chained error would print the password again.
        raise StoreError(
            f"tracking URI {mask(uri, uri)}: {mask(_gist(error), uri)}\n{_advice(uri, str(error))}"
        ) from None


def _open_database(uri: str) -> None:
    """Connect once: mlflow itself retries for 100 s before it gives up on a database."""
    url = sqlalchemy.make_url(uri)
    if url.get_backend_name() == "sqlite" and url.database and url.database != ":memory:":
        tracking_sqlite.create(Path(url.database))
    engine = engine_of(uri)
    try:
        sqlalchemy.inspect(engine).get_table_names()
    finally:
        engine.dispose()


def engine_of(uri: str) -> sqlalchemy.Engine:
    """Return an engine that keeps no connection open, and waits no longer than a reader does."""
    url = sqlalchemy.make_url(uri)
    options = {}
    if url.get_backend_name() in ("postgresql", "mysql"):
        options["connect_timeout"] = CONNECT_SECONDS
    elif url.get_backend_name() == "sqlite" and "timeout" not in url.query:
        options["timeout"] = LOCKED_SECONDS
    return sqlalchemy.create_engine(url, connect_args=options, poolclass=sqlalchemy.NullPool)


@contextmanager
def _impatient() -> Iterator[None]:
    """Make mlflow's requests give up after one retry and a few seconds."""
    short = {
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
        "MLFLOW_HTTP_REQUEST_TIMEOUT": str(CONNECT_SECONDS),
    }
    before = {key: os.environ[key] for key in short}
    os.environ.update(short)
    try:
        yield
    finally:
        os.environ.update(before)


def _gist(error: Exception) -> str:
    """Return the innermost cause that libraries wrap in paragraphs, in one line."""
    text = str(error).strip() or type(error).__name__
    if "NameResolutionError" in text or "Failed to resolve" in text:
        return "its host name is not known"
    if "refused" in text.lower():
        return "connection refused"
    if "timed out" in text.lower() or "timeout" in text.lower():
        return "no answer in time"
    first_sentence = text.splitlines()[0].partition(". ")[0]
    return re.sub(r"^\(\w+(\.\w+)*\) ", "", first_sentence)[:200]


def _advice(uri: str, text: str) -> str:
    if "database schema" in text:
        return (
            "It was made by another version of mlflow. Copy the database, then bring it up to this "
            f"one's: mlflow db upgrade {mask(uri, uri)}"
        )
    if is_server(uri):
        return "Start the server (mlflow server), or correct --tracking-uri or MLFLOW_TRACKING_URI."
    if uri.startswith("sqlite"):
        return "Give a writable SQLite file that MLflow made, or a new one: sqlite:///mlflow.db."
    if is_database(uri):
        return "See that it is up, that its driver is installed, and that the URI is right."
    return "Give a database (sqlite:///mlflow.db) or a server (http://host:5000)."

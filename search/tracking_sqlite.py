"""A new SQLite store of MLflow's: made aside, and put in its place whole."""

from __future__ import annotations

from pathlib import Path

from filelock import FileLock


def create(path: Path) -> None:
    """Make a store at `path` unless there is one.

    MLflow makes its tables in some fifty migrations, over a second or more. A database in which it
    was killed between two of them is neither empty nor whole, and MLflow refuses it from then on.
    """
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    # Not the lock of those who write: this one may be held for longer than their turns last.
    lock = path.with_name(f"{path.name}.new.lock")
    with FileLock(lock):
        _create(path)
        # Who waits for it, or comes later, finds that there is a store, and makes none.
        lock.unlink(missing_ok=True)


def _create(path: Path) -> None:
    if path.exists():
        return
    # Imported here: who records into a server needs no SQLAlchemy and no Alembic.
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    aside = path.with_name(f"{path.name}.new")
    for left in (aside, aside.with_name(f"{aside.name}-journal")):
        left.unlink(missing_ok=True)
    SqlAlchemyStore(f"sqlite:///{aside}", "mlruns").engine.dispose()
    # Somebody else's tool may have made one meanwhile.
    if not path.exists():
        aside.replace(path)
    aside.unlink(missing_ok=True)

"""Keeps the statistics by which SQLite chooses an index of MLflow's tables."""

from __future__ import annotations

import contextlib

import sqlalchemy
from sqlalchemy.exc import SQLAlchemyError

GROWN = 2
"""Statistics are renewed when the table has become so many times as large."""


def keep_statistics(uri: str) -> bool:
    """Renew the statistics of a SQLite store's metrics where they are missing or old.

    Without them SQLite reads the values of a metric for one run by going through those of all
    runs: 0.1 s in a store of a million episodes instead of a millisecond. Other databases keep
    them by themselves. Takes about a second for a million episodes; returns whether it was done.
    """
    if not uri.startswith("sqlite:"):
        return False
    engine = sqlalchemy.create_engine(uri)
    try:
        # What cannot be written, or is being written, is read all the same.
        with contextlib.suppress(SQLAlchemyError), engine.begin() as connection:
            if _are_old(connection):
                connection.execute(sqlalchemy.text("ANALYZE metrics"))
                return True
    finally:
        engine.dispose()
    return False


def _are_old(connection: sqlalchemy.Connection) -> bool:
    rows = connection.execute(sqlalchemy.text("SELECT max(rowid) FROM metrics")).scalar() or 0
    if not sqlalchemy.inspect(connection).has_table("sqlite_stat1"):
        return rows > 0
    known = sqlalchemy.text("SELECT stat FROM sqlite_stat1 WHERE tbl = 'metrics'")
    counts = [int(stat.split()[0]) for stat in connection.execute(known).scalars()]
    return rows > GROWN * max(counts, default=0)

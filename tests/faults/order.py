"""In which order episodes arrived in a store, as the store's own database tells."""

from __future__ import annotations

import contextlib
import itertools
import sqlite3
from pathlib import Path

ROWS = """
select key, step from metrics where run_uuid = ? and key like 'episode/%' order by rowid
"""
TRAINING = "episode/train/query_loss"
"""A key that all shards of a trial add to, but for those of its evaluations."""


def metrics(database: Path) -> int:
    """Return how many values of metrics a store holds."""
    with contextlib.closing(sqlite3.connect(database)) as connection:
        [(count,)] = connection.execute("select count(*) from metrics").fetchall()
    return int(count)


def out_of_order(database: Path, run_id: str) -> list[str]:
    """Return what is wrong with the order in which a run's episodes came, a line each.

    database: MLflow's SQLite file. The steps of every key must rise, which those of training
    and rungs do from shard to shard. A run without training episodes is wrong, too: they are what
    comes in several shards.
    """
    arrived: dict[str, list[int]] = {}
    with contextlib.closing(sqlite3.connect(database)) as connection:
        for key, step in connection.execute(ROWS, (run_id,)):
            arrived.setdefault(key, []).append(step)
    wrong = [] if TRAINING in arrived else [f"run {run_id}: no training episodes came"]
    for key, steps in arrived.items():
        for before, after in itertools.pairwise(steps):
            if after <= before:
                wrong.append(f"run {run_id}: {key}: {after} came after {before}")
                break
    return wrong

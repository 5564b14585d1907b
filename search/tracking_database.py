"""Reading runs from a database of MLflow's, as whole columns and without importing MLflow.

MLflow takes longer to be imported than the database of a thousand runs takes to be read, and it
makes an object of each of their values. What it wrote is read from its tables, which have had these
columns since MLflow 1; where they are not there, MLflow's client has to look.
"""

from __future__ import annotations

import math
import os
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import sqlalchemy
from sqlalchemy import Select, TableClause, and_, column, select, table

from search.tracking_client import engine_of, is_database
from search.tracking_query import Recorded

EXPERIMENTS = table(
    "experiments", column("experiment_id"), column("name"), column("lifecycle_stage")
)
WORKSPACES, WORKSPACE = "MLFLOW_ENABLE_WORKSPACES", "workspace"
RUNS = table(
    "runs",
    column("run_uuid"),
    column("experiment_id"),
    column("start_time"),
    column("lifecycle_stage"),
)
TAGS, PARAMS = (
    table(name, column("run_uuid"), column("key"), column("value")) for name in ("tags", "params")
)
LATEST, METRICS = (
    table(
        name,
        *(column(each) for each in ("run_uuid", "key", "value", "step", "timestamp", "is_nan")),
    )
    for name in ("latest_metrics", "metrics")
)
NEEDED = (EXPERIMENTS, RUNS, TAGS, PARAMS, LATEST, METRICS)
ACTIVE = "active"


class Database:
    """MLflow's tables. Methods raise what SQLAlchemy raises."""

    def __init__(self, engine: sqlalchemy.Engine):
        self._engine = engine

    def find_search(self, name: str) -> Recorded | None:
        """Return the run of the search with this name, without what was logged to it, or None."""
        kind, named = TAGS.alias(), TAGS.alias()
        query = (
            _active()
            .add_columns(named.c.value)
            .join(EXPERIMENTS, EXPERIMENTS.c.experiment_id == RUNS.c.experiment_id)
            .join(kind, kind.c.run_uuid == RUNS.c.run_uuid)
            .join(named, named.c.run_uuid == RUNS.c.run_uuid)
            .where(
                EXPERIMENTS.c.lifecycle_stage == ACTIVE,
                and_(kind.c.key == "metasweep.kind", kind.c.value == "search"),
                and_(named.c.key == "metasweep.search", named.c.value == name),
            )
        )
        # Some databases take "first" for "First".
        found = [run for *run, value in self._rows(query) if value == name]
        return _recorded(found[0], {}, {}, {}) if found else None

    def experiment(self, name: str) -> str | None:
        """Return the id of an experiment, deleted ones among them, or None."""
        of = EXPERIMENTS.c
        rows = self._rows(select(of.experiment_id, of.name).where(of.name == name))
        found = [experiment for experiment, value in rows if value == name]
        return str(found[0]) if found else None

    def has_workspaces(self) -> bool:
        """Say whether experiments are of more than the one workspace that there is by default."""
        workspace: sqlalchemy.ColumnClause[str] = column(WORKSPACE)
        others = select(workspace).select_from(EXPERIMENTS).where(workspace != "default")
        return bool(self._rows(others.limit(1)))

    def runs(self, experiment: str, parent: str | None = None) -> list[Recorded]:
        """Return the runs of an experiment, or of those the ones below another, oldest first.

        With our own tags, and of the metrics with the summaries alone.
        """
        query = _active().where(RUNS.c.experiment_id == int(experiment))
        if parent is not None:
            above = TAGS.alias()
            query = query.join(above, above.c.run_uuid == RUNS.c.run_uuid).where(
                above.c.key == "mlflow.parentRunId", above.c.value == parent
            )
        which = query.order_by(None).with_only_columns(RUNS.c.run_uuid)
        found = self._rows(query)
        # Tags before metrics: a trial is called complete once its summaries are there.
        tags = self._by_run(TAGS, which, "metasweep.")
        params = self._by_run(PARAMS, which)
        metrics = self._by_run(LATEST, which, "summary/")
        return [
            _recorded(row, *(of[row.run_uuid] for of in (tags, params, metrics))) for row in found
        ]

    def history(self, run_id: str, key: str) -> list[tuple[int, float]]:
        """Return the values of a metric with their steps, in the order in which they were taken."""
        columns = METRICS.c
        query = select(columns.step, columns.value, columns.is_nan).order_by(
            columns.timestamp, columns.step, columns.value
        )
        found = self._rows(query.where(columns.run_uuid == run_id, columns.key == key))
        return [(step, math.nan if is_nan else value) for step, value, is_nan in found]

    def _by_run(
        self, values: TableClause, which: Select[Any], prefix: str = ""
    ) -> dict[str, dict[str, Any]]:
        """Return by run what a table has of some runs, of the keys that begin with a prefix."""
        columns = values.c
        asked = [columns.run_uuid, columns.key, columns.value]
        asked += [columns.is_nan] if "is_nan" in columns else []
        of_runs = select(*asked).where(columns.run_uuid.in_(which))
        found: dict[str, dict[str, Any]] = defaultdict(dict)
        for run, key, value, *is_nan in self._rows(of_runs.where(columns.key.startswith(prefix))):
            found[run][key] = math.nan if any(is_nan) else value
        return found

    def _rows(self, query: Select[Any]) -> Sequence[Any]:
        with self._engine.connect() as connection:
            return connection.execute(query).all()


def opened(uri: str) -> Database | None:
    """Return the database at a tracking URI; None where there is none, or none of MLflow's yet.

    Nor is there one where MLflow keeps the experiments of several workspaces apart.
    Raises what SQLAlchemy raises.
    """
    if not is_database(uri) or os.environ.get(WORKSPACES, "").lower() in ("true", "1"):
        return None
    url = sqlalchemy.make_url(uri)
    if url.get_backend_name() == "sqlite" and not Path(url.database or "").is_file():
        return None
    engine = engine_of(uri)
    there = sqlalchemy.inspect(engine)
    if not {each.name for each in NEEDED} <= set(there.get_table_names()):
        return None
    database = Database(engine)
    columns = {each["name"] for each in there.get_columns(EXPERIMENTS.name)}
    return None if WORKSPACE in columns and database.has_workspaces() else database


def _active() -> Select[Any]:
    return (
        select(RUNS.c.run_uuid, RUNS.c.experiment_id, RUNS.c.start_time)
        .where(RUNS.c.lifecycle_stage == ACTIVE)
        .order_by(RUNS.c.start_time, RUNS.c.run_uuid)
    )


def _recorded(row: Any, tags: Any, params: Any, metrics: Any) -> Recorded:
    run, experiment, started = row
    return Recorded(run, str(experiment), started, tags, params, metrics)

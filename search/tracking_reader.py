"""Reading from MLflow what `search.tracking` wrote there."""

from __future__ import annotations

import difflib
import json
import math
import re
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from search import episode_table, tracking_database, tracking_query
from search.baseline import KEYS as BASELINE_KEYS
from search.config import Config
from search.errors import FailedError, UserError
from search.garbage import collector_paused
from search.run_params import from_params
from search.tracking_client import connect, explained, is_server, resolve_uri
from search.tracking_query import Recorded
from search.tracking_server import TOGETHER, runs_of_server
from search.tracking_statistics import keep_statistics

if TYPE_CHECKING:
    from mlflow import MlflowClient

SHARD_LIST = "episodes/shards.json"
"""Which parquet artifacts make up a run's table, in order."""

IS_OURS = "tags.`metasweep.problem_hash` LIKE '%'"
KINDS = ("trial", "confirmation", "train")
INTERVAL = ("mean", "ci95_low", "ci95_high", "n")
SUMMARIES = (
    *(f"validation_{part}" for part in INTERVAL),
    *(f"test_{part}" for part in INTERVAL),
    *BASELINE_KEYS,
    *("episodes", "train_seconds", "peak_memory_mb", "adaptation_ms"),
)
TAGS = (
    "kind",
    "search",
    "trial",
    "state",
    "reason",
    "problem_hash",
    "algorithm",
    "network",
    "seed",
    "of_run",
    "published",
)
COLUMNS = ("run_id", "started", *TAGS, "params", *SUMMARIES)


class Reader:
    """Reads the MLflow store at `uri`. Methods raise FailedError when the store fails."""

    def __init__(self, uri: str | None = None):
        self.uri = resolve_uri(uri)
        self._connected: MlflowClient | None = None
        with explained(self.uri):
            self._database = tracking_database.opened(self.uri)
        if self._database is None:
            self._connected = connect(self.uri)
        keep_statistics(self.uri)

    @property
    def _client(self) -> MlflowClient:
        """MLflow's client, which a database is not read by where much is read."""
        if self._connected is None:
            self._connected = connect(self.uri)
        return self._connected

    def find_search(self, name: str) -> str | None:
        """Return the run id of the search with this name, or None."""
        with explained(self.uri):
            found = self._search(name)
        return found.run_id if found else None

    def problems(self) -> dict[str, str]:
        """Return the experiment id of every problem that something was recorded for, by name."""
        with explained(self.uri):
            found = self._client.search_experiments()
            return {
                experiment.name: experiment.experiment_id
                for experiment in found
                if tracking_query.runs(self._client, [experiment.experiment_id], IS_OURS, most=1)
            }

    def trials(self, name: str) -> pd.DataFrame:
        """Return the runs below a search, or of all searches and trainings of a problem.

        name: a search; else a problem, which is an experiment. A search goes first.
        One row a run, in the order they were started: `run_id`, `started` (ms since 1970), `kind`,
        `search`, `trial`, `state`, `reason`, `problem_hash`, `algorithm`, `network`, `seed`,
        `of_run`, `published` (bool, see `search.jobs.Job`), `params` (dict of str), and the
        summaries by name (NaN where not logged).
        Raises UserError when there is neither a search nor a problem of this name.
        """
        with explained(self.uri), collector_paused():
            search = self._search(name)
            if search is not None:
                runs = self._runs(search.experiment, search.run_id)
            else:
                experiment = self._experiment(name)
                if experiment is None:
                    raise UserError(self._unknown(name))
                runs = self._runs(experiment)
        rows = [_row(run) for run in runs if run.tags.get("metasweep.kind") in KINDS]
        # Of no rows pandas would make columns of objects, which no number can be looked for in.
        types = {**dict.fromkeys(SUMMARIES, float), "published": bool}
        frame = pd.DataFrame(rows, columns=list(COLUMNS)).astype(types)
        return frame.sort_values(["started", "trial"], kind="stable", ignore_index=True)

    def holds(self, run_id: str) -> bool:
        """Say whether a run is in this store."""
        with explained(self.uri):
            from mlflow.exceptions import MlflowException

            try:
                self._client.get_run(run_id)
            except MlflowException as error:
                if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                    raise
                return False
        return True

    def config(self, run_id: str) -> Config:
        """Return the configuration of a trial's run."""
        with explained(self.uri):
            run = self._client.get_run(run_id)
        try:
            return from_params(run.data.params)
        except (KeyError, TypeError, UserError) as error:
            raise FailedError(
                f"run {run_id}: its parameters are not a configuration of metasweep ({error})"
            ) from error

    def provenance(self, run_id: str) -> dict[str, Any]:
        """Return where a run's numbers come from: run, search, code, packages, hardware, data."""
        with explained(self.uri):
            run = self._client.get_run(run_id)
        tags = run.data.tags
        started = datetime.fromtimestamp(run.info.start_time / 1000, UTC)
        return {
            "run_id": run_id,
            "search": tags.get("metasweep.search"),
            "date": started.isoformat(timespec="seconds"),
            "git_commit": tags.get("metasweep.git_commit"),
            "versions": json.loads(tags.get("metasweep.versions", "{}")),
            "hardware": tags.get("metasweep.hardware"),
            "data_digest": tags.get("metasweep.data_digest"),
        }

    def test_metrics(self, run_id: str) -> list[str]:
        """Return what a run's meta-test episodes were judged by: "query_loss", "query_bleu", ..."""
        with explained(self.uri):
            run = self._client.get_run(run_id)
        found = (re.fullmatch(r"episode/test/(\w+)_after", key) for key in run.data.metrics)
        return sorted(match[1] for match in found if match)

    def test_values(self, run_id: str, metric: str) -> pd.Series:
        """Return a run's metric after adaptation on each meta-test episode, by episode index."""
        with explained(self.uri):
            values = dict(self._history(run_id, f"episode/test/{metric}_after"))
        return pd.Series(values, dtype=float).sort_index()

    def test_values_of(self, run_ids: Sequence[str], metric: str) -> list[pd.Series[float]]:
        """Return `test_values` of several runs; a server is asked for several at once."""
        with ThreadPoolExecutor(TOGETHER if is_server(self.uri) else 1) as pool:
            return list(pool.map(lambda run_id: self.test_values(run_id, metric), run_ids))

    def episodes(self, run_id: str) -> pd.DataFrame:
        """Return a run's episode table (columns: `search.episode_table`), from its artifacts."""
        with tempfile.TemporaryDirectory() as folder, explained(self.uri):
            there = {info.path for info in self._client.list_artifacts(run_id, "episodes")}
            if SHARD_LIST not in there:
                return episode_table.read([])
            listed = Path(self._client.download_artifacts(run_id, SHARD_LIST, folder))
            names = json.loads(listed.read_text())["shards"]
            shards = [
                Path(self._client.download_artifacts(run_id, f"episodes/{name}", folder))
                for name in names
            ]
            return episode_table.read(shards)

    def _search(self, name: str) -> Recorded | None:
        if self._database is not None:
            return self._database.find_search(name)
        return tracking_query.find_search(self._client, name)

    def _experiment(self, name: str) -> str | None:
        if self._database is not None:
            return self._database.experiment(name)
        found = self._client.get_experiment_by_name(name)
        return None if found is None else str(found.experiment_id)

    def _runs(self, experiment: str, parent: str | None = None) -> list[Recorded]:
        """Return the runs of an experiment, or of those the ones below another."""
        if self._database is not None:
            return self._database.runs(experiment, parent)
        query = f"tags.`mlflow.parentRunId` = '{parent}'" if parent else ""
        if is_server(self.uri):
            return runs_of_server(self.uri, [experiment], query)
        return tracking_query.runs(self._client, [experiment], query)

    def _history(self, run_id: str, key: str) -> list[tuple[int, float]]:
        """Return the values of a metric with their steps."""
        if self._database is not None:
            return self._database.history(run_id, key)
        found = self._client.get_metric_history(run_id, key)
        return [(point.step, point.value) for point in found]

    def _unknown(self, name: str) -> str:
        experiments = self._client.search_experiments()
        searches = tracking_query.runs(
            self._client,
            [experiment.experiment_id for experiment in experiments],
            "tags.`metasweep.kind` = 'search'",
        )
        names = {run.tags["metasweep.search"] for run in searches}
        names |= {experiment.name for experiment in experiments} - {"Default"}
        if not names:
            return f"no search or problem named {name!r}: nothing was recorded there yet"
        near = difflib.get_close_matches(name, names, n=3) or sorted(names)[:10]
        return f"no search or problem named {name!r}; there is {', '.join(near)}"


def _row(run: Recorded) -> dict[str, Any]:
    tags = run.tags
    row: dict[str, Any] = {name: tags.get(f"metasweep.{name}", "") for name in TAGS}
    row |= {"run_id": run.run_id, "started": run.started, "params": run.params}
    row |= {name: _number(run.metrics.get(f"summary/{name}")) for name in SUMMARIES}
    row |= {name: int(row[name] or -1) for name in ("trial", "seed")}
    row["published"] = bool(row["published"])
    return row


def _number(value: float | None) -> float:
    """Return a metric's value; MLflow's databases hold infinity as the largest float."""
    if value is None:
        return math.nan
    return math.copysign(math.inf, value) if abs(value) >= sys.float_info.max else value

"""Writing to MLflow: an experiment per problem, a parent run per search, a child run per trial."""

from __future__ import annotations

import json
import logging
import math
import re
import uuid
from collections.abc import Iterable, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag
from mlflow.exceptions import MlflowException

from search import episode_table, provenance
from search.config import Config, Problem
from search.episode_metrics import Row, episode_metrics
from search.errors import FailedError, UserError
from search.ledger import Ledger
from search.masking import mask
from search.run_params import to_params
from search.tracking_client import connect, explained, is_server, one_writer, resolve_uri
from search.tracking_creation import open_once, same
from search.tracking_query import Recorded, find_search, runs
from search.tracking_reader import SHARD_LIST
from search.trial_folder import TrialFolder

Kind = Literal["trial", "confirmation", "train"]
State = Literal["COMPLETE", "PRUNED", "FAIL"]

PARENT, STATE, TOKEN = "mlflow.parentRunId", "metasweep.state", "metasweep.token"
METRICS_PER_BATCH = 1000
REASON_CHARACTERS = 4000
MODEL_TRAINING = {"mlflow.experimentKind": "custom_model_development"}
RUN_STATUS = {"COMPLETE": "FINISHED", "PRUNED": "FINISHED", "FAIL": "FAILED"}

log = logging.getLogger("metasweep")


class Tracker:
    """Writes to the MLflow store at `uri`, always named, never mlflow's global one.

    artifact_root: where a database store keeps the artifacts of new experiments; a tracking server
        decides for itself.
    Methods raise StoreError when the store fails, but for `publish`, which logs a warning and
    returns False, so that a server that is down does not cost a trial.
    """

    def __init__(self, uri: str | None = None, artifact_root: Path | None = None):
        self.uri = resolve_uri(uri)
        self._artifact_root = artifact_root
        self._connected: MlflowClient | None = None
        self._start_times: dict[str, int] = {}

    @property
    def _client(self) -> MlflowClient:
        if self._connected is None:
            self._connected = connect(self.uri)
        return self._connected

    def start_search(
        self, problem: Problem, name: str, spec: Mapping[str, Any], seed: int, token: str = ""
    ) -> str:
        """Open the parent run of a new search; return its run id.

        spec: the resolved specification, kept as the artifact `spec.yaml`.
        token: what this search alone has; called again with it, this opens no second run.
        Raises UserError when the name is unfit or in use.
        """
        if not re.fullmatch(r"[\w.-]+", name):
            raise UserError(f"search name {name!r}: use letters, digits, '-', '_' and '.' only")
        with explained(self.uri):
            existing = find_search(self._client, name)
            if existing is not None and (not token or existing.tags.get(TOKEN) != token):
                raise UserError(
                    f"search name {name!r}: in use by another search (run {existing.run_id}); give "
                    f"another --name, or go on with that one: metasweep resume {name}"
                )
            tags = {"metasweep.kind": "search", "metasweep.search": name}
            tags[TOKEN] = token or uuid.uuid4().hex
            identity = dict(tags)
            tags |= _origin(problem) | {"metasweep.seed": str(seed)}
            run_id = self._create_run(problem, name, tags, identity)
            self._client.log_dict(run_id, dict(spec), "spec.yaml")
        return run_id

    def create_trial(
        self,
        config: Config,
        kind: Kind,
        number: int,
        *,
        search_name: str = "",
        search_run_id: str | None = None,
        of_run: str | None = None,
        published: bool = False,
    ) -> str:
        """Open the run of one trial; return its run id. `describe_trial` says what it is of.

        search_run_id: the parent, below which a job has one run, however often this is called for
            it; None for a training outside of any search, which gets a new run each time.
        of_run: the run that a confirmation repeats with a fresh seed.
        published: see `search.jobs.Job`.
        """
        identity = {
            "metasweep.kind": kind,
            "metasweep.trial": str(number),
            "metasweep.seed": str(config.seed),
        }
        if search_run_id is not None:
            identity[PARENT] = search_run_id
        else:
            identity[TOKEN] = uuid.uuid4().hex
        if of_run is not None:
            identity["metasweep.of_run"] = of_run
        tags = identity | _origin(config.problem)
        tags |= {"metasweep.algorithm": config.algorithm, "metasweep.network": config.network}
        if published:
            tags["metasweep.published"] = "true"
        if search_name:
            tags["metasweep.search"] = search_name
        name = f"{kind}-{number:03d}-{config.algorithm}-{config.network}"
        if kind == "confirmation":
            name += f"-seed-{config.seed}"
        with explained(self.uri):
            return self._create_run(config.problem, name, tags, identity)

    def describe_trial(self, run_id: str, config: Config) -> None:
        """Write a trial's full configuration into its run. May be called again."""
        params = [Param(key, value) for key, value in to_params(config).items()]
        with explained(self.uri):
            self._client.log_batch(run_id, params=params)
            self._client.log_dict(run_id, config.to_dict(), "config.json")

    def start_trial(self, config: Config, kind: Kind, number: int, **of: Any) -> str:
        """Open and describe the run of one trial, as `create_trial` does; return its run id."""
        run_id = self.create_trial(config, kind, number, **of)
        self.describe_trial(run_id, config)
        return run_id

    def publish(
        self, run_id: str, folder: TrialFolder, config: Config, *, ended: bool = False
    ) -> bool:
        """Send the sealed episodes that were not sent yet; return whether all of them are there.

        Sending the same shard again leaves no second trace: time stamps are the start of the run
        plus the step in milliseconds, and MLflow drops rows that are equal in everything.
        ended: whether these are the last ones.
        Raises SupersededError when another process has resumed since these were sealed.
        """
        ledger = Ledger(folder.path, run_id)
        try:
            with ledger.locked():
                for shard in folder.shards:
                    if ledger.has(shard):
                        continue
                    folder.check()
                    path = folder.shard_path(shard)
                    rows = episode_metrics(episode_table.read([path]), config)
                    with explained(self.uri):
                        self._log_metrics(run_id, rows)
                        self._client.log_artifact(run_id, str(path), "episodes")
                    ledger.add(shard)
                folder.check()
                names = [shard.name for shard in folder.shards]
                # Of these and more, more is known: a checkpoint that was damaged since listed it.
                if names != ledger.listed[: len(names)]:
                    # A trial that had to go back leaves shards there that count no more.
                    with explained(self.uri):
                        self._client.log_dict(run_id, {"shards": names}, SHARD_LIST)
                    ledger.set_listed(names)
                if ended:
                    ledger.complete()
        except (FailedError, OSError) as error:
            # OSError: the disk is full, or another process took the trial over and its files away.
            log.warning("%s\nThe episodes stay in %s and are sent later.", error, folder.path)
            return False
        return True

    def finish_trial(
        self, run_id: str, state: State, reason: str = "", summaries: Mapping[str, float] = {}
    ) -> None:
        """Close a trial's run. May be called again.

        state: what the trial is to the study. A pruned run is FINISHED to MLflow; the tag tells.
        summaries: logged as `summary/<name>` where finite.
        """
        tags: dict[str, str] = {STATE: state}
        if reason:
            tags["metasweep.reason"] = mask(reason, self.uri)[:REASON_CHARACTERS]
        rows = (Row(f"summary/{name}", float(value), 0) for name, value in summaries.items())
        with explained(self.uri):
            self._log_metrics(run_id, (row for row in rows if math.isfinite(row.value)))
            self._client.log_batch(run_id, tags=[RunTag(*tag) for tag in tags.items()])
            self._client.set_terminated(run_id, RUN_STATUS[state])

    def log_files(self, run_id: str, files: Iterable[Path], folder: str) -> None:
        """Add files to a run's artifacts. May be called again."""
        with explained(self.uri):
            for file in files:
                self._client.log_artifact(run_id, str(file), folder)

    def finish_search(self, run_id: str, state: State, artifacts: Path | None = None) -> None:
        """Close a search's run with all files in the folder `artifacts`."""
        with explained(self.uri):
            if artifacts is not None:
                self._client.log_artifacts(run_id, str(artifacts))
            self._client.set_tag(run_id, STATE, state)
            self._client.set_terminated(run_id, RUN_STATUS[state])

    def doubles(self, run_id: str) -> list[str]:
        """Return the other runs that the store has for the search of a run."""
        with explained(self.uri):
            run = self._client.get_run(run_id)
            if TOKEN not in run.data.tags:
                return []
            identity = {TOKEN: run.data.tags[TOKEN]}
            found = same(self._client, run.info.experiment_id, identity)
            return [other for other in found if other != run_id]

    def open_runs(self, search_run_id: str) -> list[Recorded]:
        """Return the runs below a search that were not closed."""
        with explained(self.uri):
            experiment = self._client.get_run(search_run_id).info.experiment_id
            query = f"tags.`{PARENT}` = '{search_run_id}' and tags.`{STATE}` = 'RUNNING'"
            return runs(self._client, [experiment], query)

    def delete(self, run_id: str) -> None:
        """Remove a run, as one does in the MLflow UI, where it can be brought back."""
        with explained(self.uri):
            self._client.delete_run(run_id)

    def _create_run(
        self, problem: Problem, name: str, tags: Mapping[str, str], identity: Mapping[str, str]
    ) -> str:
        tags = {**tags, STATE: "RUNNING"}
        experiment = self._experiment_id(problem)
        return open_once(self._client, self.uri, experiment, name, tags, identity)

    def _experiment_id(self, problem: Problem) -> str:
        location = None
        if self._artifact_root is not None and not is_server(self.uri):
            location = (self._artifact_root / problem.name).absolute().as_uri()
        experiment = self._client.get_experiment_by_name(problem.name)
        if experiment is None:
            try:
                return self._client.create_experiment(
                    problem.name, artifact_location=location, tags=MODEL_TRAINING
                )
            except MlflowException as error:
                # Another process may have created it since we looked.
                if error.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise
                experiment = self._client.get_experiment_by_name(problem.name)
        if experiment.lifecycle_stage == "deleted":
            raise FailedError(
                f"experiment {problem.name!r} was deleted in MLflow: bring it back with "
                f"`mlflow experiments restore -x {experiment.experiment_id}`, "
                "or remove it for good with `mlflow gc`"
            )
        return experiment.experiment_id

    def _log_metrics(self, run_id: str, rows: Iterable[Row]) -> None:
        if run_id not in self._start_times:
            self._start_times[run_id] = self._client.get_run(run_id).info.start_time
        start = self._start_times[run_id]
        metrics = (Metric(row.key, row.value, start + row.step, row.step) for row in rows)
        while batch := list(islice(metrics, METRICS_PER_BATCH)):
            with one_writer(self.uri):
                self._client.log_batch(run_id, metrics=batch)


def _origin(problem: Problem) -> dict[str, str]:
    """Return the tags that say what was judged, and by which code on which machine."""
    return {
        "metasweep.problem_hash": problem.hash,
        "metasweep.data_digest": problem.data_digest,
        "metasweep.git_commit": provenance.git_commit() or "unknown",
        "metasweep.versions": json.dumps(provenance.versions()),
        "metasweep.hardware": provenance.hardware(),
    }

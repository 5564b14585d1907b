"""Ray Tune executes what the conductor decides. Nothing is decided here."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import ray
from ray import tune
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher
from ray.tune.stopper import Stopper

from search.conductor import Conductor, Nothing
from search.errors import FailedError, UserError
from search.jobs import Job, Progress
from search.trainable import JOB, PROGRESS, TrialActor
from search.user_code import own_path

RESTARTS_AFTER_LOST_PROCESS = 3
CONNECT_SECONDS = 5
SETTINGS = {
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # MLflow records; CSV, JSON and TensorBoard do not.
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # `interruptible` stops the search, and keeps it resumable.
    "RAY_AIR_NEW_OUTPUT": "0",  # The new one prints tables even at verbose=0.
    "TUNE_WARN_THRESHOLD_S": "10",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # What Ray will do anyway, without its warning.
}


@dataclass(frozen=True)
class Resources:
    """CPUs and GPUs: what one trial is given, or what there is."""

    cpu: float
    gpu: float


def start_ray() -> None:
    """Connect to the cluster that RAY_ADDRESS names, or start Ray on this machine alone.

    Raises FailedError when the cluster does not answer, or refuses our token.
    """
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    if ray.is_initialized():
        return
    quiet = {"log_to_driver": False, "logging_level": "ERROR"}
    address = os.environ.get("RAY_ADDRESS")
    if not address:
        ray.init(address="local", include_dashboard=False, num_cpus=os.cpu_count(), **quiet)
        _end_on_sigterm()
        return
    try:
        _knock(address)
        ray.init(**quiet)
        _end_on_sigterm()
    except Exception as error:
        # Ray raises ConnectionError, RuntimeError, ValueError and more of its own.
        raise FailedError(
            f"RAY_ADDRESS: {address}: {str(error).splitlines()[0]}\n"
            "Start the cluster, or correct RAY_ADDRESS. If it asks for a token, set "
            "RAY_AUTH_MODE=token and RAY_AUTH_TOKEN to what they are on the cluster."
        ) from None


def _knock(address: str) -> None:
    """Raise OSError within seconds where nobody listens: Ray itself would try for minutes."""
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host.strip("[]"), int(port)), CONNECT_SECONDS).close()


def _end_on_sigterm() -> None:
    """Make SIGTERM end the process as Ctrl-C does; Ray's own handler would end it on the spot."""

    def handle(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, handle)


def stop_ray() -> None:
    """Leave the cluster, or stop the local one."""
    ray.shutdown()


def room() -> Resources:
    """Return what all nodes have together."""
    have = ray.cluster_resources()
    return Resources(have.get("CPU", 0), have.get("GPU", 0))


def refuse_local_store(tracking_uri: str) -> None:
    """Raise UserError when trials run on several nodes and the tracking store is a file on one."""
    nodes = sum(1 for node in ray.nodes() if node["Alive"])
    if nodes > 1 and tracking_uri.startswith("sqlite"):
        raise UserError(
            f"--tracking-uri: {tracking_uri}: a SQLite file cannot be shared by {nodes} nodes; "
            "start an MLflow server that all of them reach, and give its http:// address"
        )


def room_for(resources: Resources) -> int | None:
    """Return how many trials fit this machine at once; None on a cluster, which may grow."""
    if os.environ.get("RAY_ADDRESS"):
        return None
    have = room()
    trials = have.cpu // resources.cpu
    if resources.gpu:
        trials = min(trials, have.gpu // resources.gpu)
    return int(trials)


def drive(
    conductor: Conductor,
    resources: Resources,
    folder: Path,
    tracking_uri: str,
    data: str | None,
) -> None:
    """Run the conductor's jobs until it has no more, or until it is interrupted."""
    shared = {"tracking_uri": tracking_uri, "data": data, "path": own_path()}
    jobs: dict[str, Job] = {}
    tuner = tune.Tuner(
        tune.with_resources(TrialActor, {"cpu": resources.cpu, "gpu": resources.gpu}),
        tune_config=tune.TuneConfig(
            search_alg=_Asking(conductor, jobs, shared),
            scheduler=_Telling(conductor, jobs),
            num_samples=-1,
            reuse_actors=True,
        ),
        run_config=tune.RunConfig(
            name="tune",
            storage_path=str(folder),
            stop=_Interruption(conductor),
            failure_config=tune.FailureConfig(max_failures=RESTARTS_AFTER_LOST_PROCESS),
            verbose=0,
        ),
    )
    with interruptible(conductor):
        tuner.fit()


@contextmanager
def interruptible(conductor: Conductor) -> Iterator[None]:
    """Turn SIGINT and SIGTERM into an orderly end; a second one ends the process at once."""

    def handle(number: int, frame: FrameType | None) -> None:
        if conductor.interrupted:
            raise KeyboardInterrupt
        conductor.interrupted = True

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _Stateless:
    """Tune pickles what it is given beside its snapshots; the study holds the state instead."""

    def __getstate__(self) -> dict[str, Any]:
        return {}


class _Asking(_Stateless, Searcher):
    """A Tune searcher that passes on the conductor's jobs."""

    def __init__(self, conductor: Conductor, jobs: dict[str, Job], shared: dict[str, Any]):
        super().__init__()
        self._conductor = conductor
        self._jobs = jobs
        self._shared = shared

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """Return a configuration, None to be asked again, or FINISHED."""
        job = self._conductor.next_job()
        if job is Nothing.YET:
            return None
        if job is Nothing.MORE:
            return Searcher.FINISHED
        self._jobs[trial_id] = job
        return {JOB: job.to_json(), **self._shared}

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Pass on that a trial is lost; of every other end the conductor knows already."""
        if error:
            restarts = RESTARTS_AFTER_LOST_PROCESS
            self._conductor.lost(
                self._jobs[trial_id], f"its process died, and again after {restarts} restarts"
            )

    def save(self, checkpoint_path: str) -> None:
        """Save nothing."""

    def restore(self, checkpoint_path: str) -> None:
        """Restore nothing."""


class _Telling(_Stateless, FIFOScheduler):
    """A Tune scheduler that passes results to the conductor and obeys it."""

    def __init__(self, conductor: Conductor, jobs: dict[str, Job]):
        super().__init__()
        self._conductor = conductor
        self._jobs = jobs

    @property
    def supports_buffered_results(self) -> bool:
        """Every result is judged when it comes."""
        return False

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Pass on what a running job tells."""
        job = self._jobs[trial.trial_id]
        stop = self._conductor.told(job, Progress.from_json(result[PROGRESS]))
        return TrialScheduler.STOP if stop else TrialScheduler.CONTINUE

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
        """Pass on a job's last word."""
        job = self._jobs[trial.trial_id]
        if job.name in self._conductor.running:
            self._conductor.told(job, Progress.from_json(result[PROGRESS]))


class _Interruption(_Stateless, Stopper):
    """Ends the Tune run when the conductor is interrupted."""

    def __init__(self, conductor: Conductor):
        self._conductor = conductor

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Stop no single trial."""
        return False

    def stop_all(self) -> bool:
        """Whether to stop them all."""
        return self._conductor.interrupted

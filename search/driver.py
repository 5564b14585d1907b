"""Ray Tune executes what the conductor decides. Nothing is decided here."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import ray
from ray import tune
from ray.exceptions import RayError
from ray.tune.execution import class_cache
from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher
from ray.tune.stopper import Stopper
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from search.conductor import Conductor, Nothing
from search.errors import FailedError, UserError
from search.jobs import Job, Progress
from search.node import Expected, unfit
from search.plain_text import first_line
from search.room import Resources, Room, check, trials_that_fit
from search.run_job import HUNG
from search.silence import Silence
from search.trainable import JOB, PROGRESS, SHARED, WANTED, TrialActor
from search.user_code import extend_path, own_path

MOST_RESTARTS = 100
"""Of one job: machines that are rented by the minute are taken away. A job that dies again and
again at one place is given up much earlier, see `search.run_job`."""

CONNECT_SECONDS = 5
ANSWER_SECONDS = 120
"""For a node to start a process, and to import torch in it for the first time."""

SETTINGS = {
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # MLflow records; CSV, JSON and TensorBoard do not.
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # `interruptible` stops the search, and keeps it resumable.
    "RAY_AIR_NEW_OUTPUT": "0",  # The new one prints tables even at verbose=0.
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",  # Not as a traceback: the live display says it in a line.
    "TUNE_WARN_THRESHOLD_S": "10",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # What Ray will do anyway, without its warning.
}


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
            f"RAY_ADDRESS: {address}: {first_line(error)}\n"
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
    return Resources(have.get("CPU", 0), have.get("GPU", 0), have.get("memory", 0) / 1e9)


def is_elastic() -> bool:
    """Whether trials run on a cluster, which may grow, and not on this machine alone."""
    return bool(os.environ.get("RAY_ADDRESS"))


def room_for(resources: Resources) -> int | None:
    """Return how many trials fit this machine at once; None on a cluster, which may grow.

    Raises UserError where this machine has no room for one.
    """
    if is_elastic():
        return None
    have = room()
    check(resources, have)
    return trials_that_fit(resources, have)


def check_nodes(expected: Expected) -> None:
    """Raise UserError, before the first trial, where a node could not run one."""
    others = [
        node["NodeID"]
        for node in ray.nodes()
        if node["Alive"] and node["NodeID"] != expected.node and node["Resources"].get("CPU")
    ]
    ask = ray.remote(num_cpus=0)(_ask_node)
    answers = [
        ask.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=True)).remote(
            expected.to_json(), own_path()
        )
        for node in others
    ]
    wrong = []
    for node, answer in zip(others, answers, strict=True):
        try:
            wrong.append(ray.get(answer, timeout=ANSWER_SECONDS))
        except RayError as error:
            wrong.append(f"node {node}: metasweep cannot be started there: {first_line(error)}")
    wrong = [line for line in wrong if line]
    if wrong:
        raise UserError("\n".join(wrong))


def _ask_node(expected: str, path: list[str]) -> str:
    extend_path(path)
    return unfit(Expected.from_json(expected), ray.get_runtime_context().get_node_id())


def own_node() -> str:
    """Return the id of the node that this driver runs on."""
    return ray.get_runtime_context().get_node_id()


def drive(
    conductor: Conductor,
    resources: Resources,
    tracking_uri: str,
    expected: Expected,
    trial_timeout: float | None,
) -> None:
    """Run the conductor's jobs until it has no more, or until it is interrupted.

    trial_timeout: seconds after which a job that tells nothing is given up; None for never.
    """
    shared = {
        "data": expected.data,
        "path": own_path(),
        "driver": uuid.uuid4().hex,
        "timeout": trial_timeout,
        "expected": expected.to_json(),
    }
    jobs: dict[str, Job] = {}
    given = Room(resources, _largest_memory_gb())
    # Tune's own snapshots are never read: they lie where no full disk of ours can stop the driver.
    with tempfile.TemporaryDirectory(prefix="metasweep-") as scratch, interruptible(conductor):
        tuner = tune.Tuner(
            _actor(tracking_uri),
            tune_config=tune.TuneConfig(
                search_alg=_Asking(conductor, jobs, given, shared),
                scheduler=_Telling(conductor, jobs, given, Silence(trial_timeout)),
                num_samples=-1,
                reuse_actors=True,
            ),
            run_config=tune.RunConfig(
                name="tune",
                storage_path=scratch,
                stop=_Interruption(conductor),
                failure_config=tune.FailureConfig(max_failures=MOST_RESTARTS),
                verbose=0,
            ),
        )
        tuner.fit()


def _largest_memory_gb() -> float:
    memory = [node["Resources"].get("memory", 0.0) for node in ray.nodes() if node["Alive"]]
    return max(memory, default=0.0) / 1e9


def _actor(tracking_uri: str) -> type[TrialActor]:
    """Return the trainable, to which Ray hands secrets without writing them down.

    Tune writes a trial's configuration into its snapshots, and the cloud credentials that it passes
    on to actors into its logs; workers have those of their own environment.
    """
    class_cache.ENV_VARS_TO_PROPAGATE -= {
        name for name in class_cache.ENV_VARS_TO_PROPAGATE if name.startswith("AWS_")
    }
    actor: type[TrialActor] = tune.with_parameters(TrialActor, tracking_uri=tracking_uri)
    actor.__qualname__ = TrialActor.__qualname__  # What Ray calls its processes.
    return actor


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

    def __init__(
        self, conductor: Conductor, jobs: dict[str, Job], given: Room, shared: dict[str, Any]
    ):
        super().__init__()
        self._conductor = conductor
        self._jobs = jobs
        self._given = given
        self._shared = shared

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """Return a configuration, None to be asked again, or FINISHED."""
        job = self._conductor.next_job()
        if job is Nothing.YET:
            return None
        if job is Nothing.MORE:
            return Searcher.FINISHED
        self._jobs[trial_id] = job
        return {JOB: job.to_json(), WANTED: self._given.of(job), SHARED: self._shared}

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Pass on that a trial is lost; of every other end the conductor knows already."""
        if error:
            self._conductor.lost(
                self._jobs[trial_id], f"its process died, and again after {MOST_RESTARTS} restarts"
            )

    def save(self, checkpoint_path: str) -> None:
        """Save nothing."""

    def restore(self, checkpoint_path: str) -> None:
        """Restore nothing."""


class _Telling(_Stateless, FIFOScheduler):
    """A Tune scheduler that passes results to the conductor and obeys it."""

    def __init__(self, conductor: Conductor, jobs: dict[str, Job], given: Room, silence: Silence):
        super().__init__()
        self._conductor = conductor
        self._jobs = jobs
        self._given = given
        self._silence = silence

    @property
    def supports_buffered_results(self) -> bool:
        """Every result is judged when it comes."""
        return False

    def choose_trial_to_run(self, tune_controller: Any) -> Any:
        """Choose as Tune does; called all the time, it also ends processes that do not answer.

        A process that hangs ends itself. One that cannot, since it is stopped or waits for a disk
        that is gone, is killed; Tune starts the job again, which finds what was left for it.
        """
        running = {
            trial.trial_id: trial
            for trial in tune_controller.get_live_trials()
            if trial.status == Trial.RUNNING
        }
        for trial_id in self._silence.too_long(running.keys()):
            job, actor = self._jobs[trial_id], running[trial_id].temporary_state.ray_actor
            if actor is not None:
                ray.kill(actor)
                with contextlib.suppress(OSError):
                    (Path(job.folder) / HUNG).write_text("its process did not answer")
        return super().choose_trial_to_run(tune_controller)

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Pass on what a running job tells."""
        stop = self._told(trial.trial_id, result)
        return TrialScheduler.STOP if stop else TrialScheduler.CONTINUE

    def on_trial_error(self, tune_controller: Any, trial: Any) -> None:
        """Pass on that a job's process died; Tune starts it again."""
        self._conductor.died(self._jobs[trial.trial_id])

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
        """Pass on a job's last word."""
        if self._jobs[trial.trial_id].name in self._conductor.running and result.get("done"):
            self._told(trial.trial_id, result)

    def _told(self, trial_id: str, result: dict[str, Any]) -> bool:
        job, progress = self._jobs[trial_id], Progress.from_json(result[PROGRESS])
        self._silence.broken(trial_id)
        self._given.learn(job, progress.summaries)
        return self._conductor.told(job, progress)


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

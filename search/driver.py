"""Ray Tune executes what the conductor decides. Nothing is decided here."""

from __future__ import annotations

import contextlib
import signal
import tempfile
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Any

import ray
from ray import tune
from ray.tune.execution import class_cache
from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher
from ray.tune.stopper import Stopper

from search.conductor import Conductor, Nothing
from search.jobs import Job, Progress
from search.line import Line
from search.node import Expected
from search.ray_cluster import (
    Nodes,
    all_together,
    is_elastic,
    largest_memory_gb,
    node_of,
    nodes_with,
    own_node,
)
from search.ray_repair import (
    every_death_survived,
    has_room,
    idle_processes,
    not_started,
    short_of_memory,
    starting_processes_kept,
)
from search.room import Resources, Room
from search.run_job import HUNG, NO_MEMORY
from search.silence import NOTICE, Silence, Standstill
from search.timekeeper import NO_WORDS
from search.trainable import (
    JOB,
    NODE,
    PROGRESS,
    SHARED,
    UNFIT_NODES,
    WANTED,
    TrialActor,
)
from search.unfit_nodes import UnfitNodes
from search.user_code import own_path

MOST_RESTARTS = 100
"""Of one job: machines that are rented by the minute are taken away. A job that dies again and
again at one place is given up much earlier, see `search.run_job`."""

SLOW_START = f"no trial runs yet: for {NOTICE:g} s now the process of one is starting"
LEFT_OUT = "no trial is sent to this node any more; the search goes on on the others"


def drive(
    conductor: Conductor,
    resources: Resources,
    tracking_uri: str,
    expected: Expected,
    trial_timeout: float | None,
    trainable: type[tune.Trainable] = TrialActor,
) -> None:
    """Run the conductor's jobs until it has no more, or until it is interrupted.

    trial_timeout: seconds after which a job that tells nothing is given up; None for never.
    trainable: what runs them; another one is told the same, and tells of itself alike.
    """
    shared = {
        "data": expected.data,
        "path": own_path(),
        "driver": uuid.uuid4().hex,
        "timeout": trial_timeout,
        "expected": expected.to_json(),
    }
    jobs: dict[str, Job] = {}
    unfit = UnfitNodes(is_elastic())
    given = Room(resources, lambda: largest_memory_gb(without=unfit.ids))
    line = Line(is_elastic(), conductor.plan.concurrency)
    # Tune's own snapshots are never read: they lie where no full disk of ours can stop the driver.
    with tempfile.TemporaryDirectory(prefix="metasweep-") as scratch, interruptible(conductor):
        tuner = tune.Tuner(
            _actor(trainable, tracking_uri),
            tune_config=tune.TuneConfig(
                search_alg=_Asking(conductor, jobs, given, line, unfit, shared),
                scheduler=_Telling(conductor, jobs, given, line, unfit, Silence(trial_timeout)),
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
        with every_death_survived(), starting_processes_kept():
            tuner.fit()
        conductor.leave()


def _actor(trainable: type[tune.Trainable], tracking_uri: str) -> type[tune.Trainable]:
    """Return the trainable, to which Ray hands secrets without writing them down.

    Tune writes a trial's configuration into its snapshots, and the cloud credentials that it passes
    on to actors into its logs; workers have those of their own environment.
    """
    class_cache.ENV_VARS_TO_PROPAGATE -= {
        name for name in class_cache.ENV_VARS_TO_PROPAGATE if name.startswith("AWS_")
    }
    actor: type[tune.Trainable] = tune.with_parameters(trainable, tracking_uri=tracking_uri)
    actor.__qualname__ = trainable.__qualname__  # What Ray calls its processes.
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
        self,
        conductor: Conductor,
        jobs: dict[str, Job],
        given: Room,
        line: Line,
        unfit: UnfitNodes,
        shared: dict[str, Any],
    ):
        super().__init__()
        self._conductor = conductor
        self._jobs = jobs
        self._given = given
        self._line = line
        self._unfit = unfit
        self._shared = shared
        self._nodes = Nodes()
        self._wanted: dict[str, float] = {}
        self._held: list[Job] = []

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """Return a configuration, None to be asked again, or FINISHED."""
        job = self._next_job()
        if job is Nothing.YET:
            return None
        if job is Nothing.MORE:
            return Searcher.FINISHED
        self._jobs[trial_id] = job
        self._line.joins()
        self._wanted = self._given.of(job)
        job = replace(job, measured=self._given.measures(job))
        told = {JOB: job.to_json(), WANTED: self._wanted, SHARED: self._shared}
        return told | {UNFIT_NODES: self._unfit.ids}

    def _next_job(self) -> Job | Nothing:
        """Return the conductor's next job; it is held while what it needs is being measured.

        Tune asks Ray for what a trial needs when it is suggested, and never for less afterwards.
        """
        if self._conductor.interrupted:
            return Nothing.MORE
        for held in self._held:
            if not self._given.is_awaited(held):
                self._held.remove(held)
                return held
        free, nodes = (0, 0)
        if self._wanted:
            taken = self._line.running
            free, nodes = self._nodes.room_for(self._wanted, taken, without=self._unfit.ids)
        if not self._line.is_open(held=len(self._held), free=free, nodes=nodes):
            return Nothing.YET
        job = self._conductor.next_job()
        if isinstance(job, Job) and self._given.is_awaited(job):
            self._held.append(job)
            return Nothing.YET
        return job

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Pass on that a trial is lost; of every other end the conductor knows already."""
        if error:
            job = self._jobs[trial_id]
            self._given.learn(job, {})
            self._conductor.lost(job, f"its process died, and again after {MOST_RESTARTS} restarts")

    def save(self, checkpoint_path: str) -> None:
        """Save nothing."""

    def restore(self, checkpoint_path: str) -> None:
        """Restore nothing."""


class _Telling(_Stateless, FIFOScheduler):
    """A Tune scheduler that passes results to the conductor and obeys it."""

    def __init__(
        self,
        conductor: Conductor,
        jobs: dict[str, Job],
        given: Room,
        line: Line,
        unfit: UnfitNodes,
        silence: Silence,
    ):
        super().__init__()
        self._conductor = conductor
        self._jobs = jobs
        self._given = given
        self._line = line
        self._unfit = unfit
        self._silence = silence
        self._standstill = Standstill()
        self._slow_start = Standstill()

    @property
    def supports_buffered_results(self) -> bool:
        """Every result is judged when it comes."""
        return False

    def choose_trial_to_run(self, tune_controller: Any) -> Any:
        """Choose as Tune does; called all the time, it also ends processes that do not answer.

        A process that hangs ends itself. One that cannot, since it is stopped or waits for a disk
        that is gone, is killed; Tune starts the job again, which finds what was left for it.
        """
        live = tune_controller.get_live_trials()
        running = {trial.trial_id: trial for trial in live if trial.status == Trial.RUNNING}
        waiting = [trial for trial in live if trial.status == Trial.PENDING]
        roomless = [trial for trial in waiting if not has_room(tune_controller, trial)]
        # Some of them are given a process right now.
        waits = max(0, len(roomless) - idle_processes(tune_controller))
        self._line.seen(waiting=waits, running=len(live) - len(roomless))
        starts = len(roomless) < len(waiting)
        if self._standstill.begins(waiting=bool(waiting) and not starts, running=bool(running)):
            self._conductor.listener.remarks(_why_nothing_runs(waiting[0], self._unfit.ids))
        if self._slow_start.begins(waiting=starts, running=bool(running)):
            self._conductor.listener.remarks(SLOW_START)
        if self._unfit.ids and waiting and not running:
            hopeless = self._why_hopeless(waiting[0])
            if hopeless:
                self._conductor.block(hopeless)
        for trial_id in self._silence.too_long(running.keys()):
            job, actor = self._jobs[trial_id], running[trial_id].temporary_state.ray_actor
            if actor is not None:
                ray.kill(actor)
                with contextlib.suppress(OSError):
                    (Path(job.folder) / HUNG).write_text(NO_WORDS)
        return super().choose_trial_to_run(tune_controller)

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Pass on what a running job tells."""
        stop = self._told(trial, result)
        return TrialScheduler.STOP if stop else TrialScheduler.CONTINUE

    def on_trial_error(self, tune_controller: Any, trial: Any) -> None:
        """Pass on that a job's process died; Tune starts it again.

        Of lack of memory the job then tells, and is given more room.
        """
        job, reason = self._jobs[trial.trial_id], short_of_memory(trial)
        if reason:
            with contextlib.suppress(OSError):
                (Path(job.folder) / NO_MEMORY).write_text(reason)
        self._leave_out_where_none_starts(trial)
        self._conductor.died(job)

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
        """Pass on a job's last word."""
        if self._jobs[trial.trial_id].name in self._conductor.running and result.get("done"):
            self._told(trial, result)

    def _told(self, trial: Any, result: dict[str, Any]) -> bool:
        job, progress = self._jobs[trial.trial_id], Progress.from_json(result[PROGRESS])
        self._silence.broken(trial.trial_id)
        if progress.phase == "unfit":
            # What others wait to learn from it they learn from the next.
            self._given.learn(job, {})
            return self._conductor.told(job, self._left_out(trial, result[NODE], progress))
        self._given.learn(job, progress.summaries)
        return self._conductor.told(job, progress)

    def _leave_out_where_none_starts(self, trial: Any) -> None:
        """Leave a node out that can import less than the driver's, and let the job avoid it."""
        failed = not_started(trial)
        if failed is None:
            return
        actor, raised = failed
        node, name = node_of(actor)
        if node in ("", own_node()):
            return
        reason = f"node {name}: the process of a trial cannot start there: {raised}"
        progress = self._left_out(trial, node, Progress("unfit", 0, reason=reason))
        if progress.phase == "blocked":
            self._conductor.block(progress.reason)
        config = trial.config | {UNFIT_NODES: self._unfit.ids}
        actor_class = trial.get_trainable_cls()
        trial.placement_group_factory = actor_class.default_resource_request(config)

    def _left_out(self, trial: Any, node: str, progress: Progress) -> Progress:
        """Leave a node out from now on; where no other is left, its trial blocks the search."""
        is_news = self._unfit.found(node, progress.reason)
        hopeless = self._why_hopeless(trial)
        if hopeless:
            return replace(progress, phase="blocked", reason=hopeless)
        if is_news:
            self._conductor.listener.remarks(f"{progress.reason}\n{LEFT_OUT}")
        return progress

    def _why_hopeless(self, trial: Any) -> str:
        return self._unfit.why_hopeless(nodes_with(_asked(trial)))


def _asked(trial: Any) -> Mapping[str, float]:
    """Return what a Tune trial asks for."""
    asked: Mapping[str, float] = trial.placement_group_factory.required_resources
    return asked


def _why_nothing_runs(trial: Any, unfit: list[str]) -> str:
    asked, have = _asked(trial), all_together(without=unfit)
    fit = "fit " if unfit else ""
    return (
        f"no node has room for a trial: it asks for {_amounts(asked, asked)}, and all {fit}nodes "
        f"together have {_amounts(have, asked)}; it starts once a node has"
    )


def _amounts(of: Mapping[str, float], names: Iterable[str]) -> str:
    shown = {name: of.get(name, 0.0) for name in names}
    if "memory" in shown:
        shown["GB of memory"] = shown.pop("memory") / 1e9
    return ", ".join(f"{amount:g} {name}" for name, amount in shown.items())


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

"""What Ray Tune (2.60) does not tell of the processes of trials, and where it is mended."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ray.air.execution._internal import RayActorManager
from ray.exceptions import OutOfMemoryError, RayActorError, RayError, RayTaskError
from ray.tune.execution.tune_controller import TuneController

from search.plain_text import first_line

NO_MEMORY = "its node ran low on memory"
AMOUNTS = re.compile(r"was (?P<amounts>[\d.]+ ?\w+ used / [\d.]+ ?\w+ limit)")
FAILURE = "Failure #"
NOT_IMPORTED = "failed to import on the worker"
ACTOR = re.compile(r"actor_id=(?P<id>[0-9a-f]+)")


@contextmanager
def every_death_survived() -> Iterator[None]:
    """Let Tune take every error of Ray's own for the death of an actor, which it starts again.

    Ray's memory monitor kills the largest processes of a node before the kernel would. What is
    raised then is neither a RayActorError nor a RayTaskError, and Tune ends the whole run. The
    death of a process that was just given another trial Tune counts twice, the second time as the
    trial's end; and as that it counts what such a process raises, which from a new one is a death.
    """
    as_tune_does = RayActorManager._actor_task_failed

    def failed(manager: Any, tracked_actor_task: Any, exception: Exception) -> None:
        was_given = _taken_back(tracked_actor_task)
        if isinstance(exception, RayTaskError):
            if was_given:
                exception = RayActorError(error_msg=first_line(exception))
        elif isinstance(exception, RayError):
            exception = _death(exception)
        if was_given:
            tracked_actor_task._on_error = None  # The actor's own tells of it.
        as_tune_does(manager, tracked_actor_task, exception)

    RayActorManager._actor_task_failed = failed
    try:
        yield
    finally:
        RayActorManager._actor_task_failed = as_tune_does


def _taken_back(tracked_actor_task: Any) -> bool:
    """Take back the trial that was being given to an actor; return whether there was one."""
    tracked_actor = tracked_actor_task._tracked_actor
    controller = getattr(tracked_actor._on_error, "__self__", None)
    if not isinstance(controller, TuneController):
        return False
    trial = controller._actor_to_trial.get(tracked_actor)
    if trial not in controller._resetting_trials:
        return False
    controller._resetting_trials.discard(trial)
    return True


@contextmanager
def starting_processes_kept() -> Iterator[None]:
    """Let Tune give the process of an ended trial to one that waits for room, where there is one.

    Tune gives it to the trial that came first, ends the process that is starting for that one, and
    starts another for the next: where trials end sooner than processes start, hardly any but the
    first ever runs one. Where no trial waits for room, nothing is lost by that.
    """
    as_tune_does = TuneController._maybe_reuse_cached_actor

    def reused(controller: Any, trial: Any) -> bool:
        is_free = controller._actor_cache.has_cached_object(trial.placement_group_factory)
        if is_free and has_room(controller, trial):
            other = _first_without_room(controller, trial)
            if other is not None:
                if other in controller._staged_trials:
                    as_tune_does(controller, other)
                else:
                    controller._staged_trials.add(other)
                    controller._actor_cache.increase_max(other.placement_group_factory)
                    controller._schedule_trial_actor(other)  # Which comes back to here.
                return False
        return bool(as_tune_does(controller, trial))

    TuneController._maybe_reuse_cached_actor = reused
    try:
        yield
    finally:
        TuneController._maybe_reuse_cached_actor = as_tune_does


def _first_without_room(controller: Any, trial: Any) -> Any:
    """Return the first Tune trial that waits for as much room as this one has; None for none."""
    waiting = (
        other
        for other in controller.get_trials()
        if other in controller._pending_trials
        and other.placement_group_factory == trial.placement_group_factory
        and not has_room(controller, other)
    )
    return next(waiting, None)


def has_room(controller: Any, trial: Any) -> bool:
    """Return whether a Tune trial's process is there, or starts."""
    live = controller._actor_manager._live_actors_to_ray_actors_resources
    return controller._trial_to_actor.get(trial) in live


def idle_processes(tune_controller: Any) -> int:
    """Return how many processes of ended trials wait to be given another."""
    number: int = tune_controller._actor_cache.num_cached_objects
    return number


def short_of_memory(trial: Any) -> str:
    """Return why a Tune trial died last if that was lack of memory; "" if it was not.

    Tune keeps what happened to a trial as text alone, the last of it at the end of a file.
    """
    lines = _last_failure(trial).splitlines()
    return next((line for line in lines if line.startswith(NO_MEMORY)), "")


def not_started(trial: Any) -> tuple[str, str] | None:
    """Return the id of the actor and what it raised if its process could not import what it is.

    None where a Tune trial died last of anything else.
    """
    last = _last_failure(trial).strip()
    actor = ACTOR.search(last)
    if NOT_IMPORTED not in last or actor is None:
        return None
    return actor["id"], last.splitlines()[-1]


def _last_failure(trial: Any) -> str:
    file = trial.error_file
    return Path(file).read_text().rpartition(FAILURE)[2] if file and Path(file).exists() else ""


def _death(error: RayError) -> RayActorError:
    if isinstance(error, RayActorError):
        return error
    if not isinstance(error, OutOfMemoryError):
        return RayActorError(error_msg=str(error))
    amounts = AMOUNTS.search(str(error))
    return RayActorError(error_msg=NO_MEMORY + (f": {amounts['amounts']}" if amounts else ""))

"""What Ray Tune does not tell of a process that died, and a death that it would not outlive."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ray.air.execution._internal import RayActorManager
from ray.exceptions import OutOfMemoryError, RayActorError, RayError, RayTaskError

NO_MEMORY = "its node ran low on memory"
AMOUNTS = re.compile(r"was (?P<amounts>[\d.]+ ?\w+ used / [\d.]+ ?\w+ limit)")
FAILURE = "Failure #"
NOT_IMPORTED = "failed to import on the worker"
ACTOR = re.compile(r"actor_id=(?P<id>[0-9a-f]+)")


@contextmanager
def every_death_survived() -> Iterator[None]:
    """Let Tune take every error of Ray's own for the death of an actor, which it starts again.

    Ray's memory monitor kills the largest processes of a node before the kernel would. What is
    raised then is neither a RayActorError nor a RayTaskError, and Tune (2.60) ends the whole run.
    """
    as_tune_does = RayActorManager._actor_task_failed

    def failed(manager: Any, tracked_actor_task: Any, exception: Exception) -> None:
        if isinstance(exception, RayError) and not isinstance(exception, RayTaskError):
            exception = _death(exception)
        as_tune_does(manager, tracked_actor_task, exception)

    RayActorManager._actor_task_failed = failed
    try:
        yield
    finally:
        RayActorManager._actor_task_failed = as_tune_does


def processes_of(tune_controller: Any) -> int:
    """Return how many processes of trials have their room, whether they run or are starting."""
    # Tune's own state says of both, and of what waits for room, that it is pending.
    number: int = tune_controller._actor_manager.num_live_actors
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

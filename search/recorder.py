"""Opens and closes the MLflow runs of a search's jobs, in a thread that the search never waits for.

What it could not do is not lost: the study and the jobs' folders say all of it again, and
`search.settle` does the rest at the end, on `resume`, or on `sync`.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from search.errors import FailedError
from search.jobs import Job, confirmation_name, trial_name
from search.masking import mask
from search.run_file import Run, RunFile
from search.study import State
from search.tracking import Tracker

FIRST_WAIT, LONGEST_WAIT = 1.0, 30.0

log = logging.getLogger("metasweep")


class SearchRuns:
    """The runs of one search's jobs; every call may be repeated.

    known: ids of runs by job name, which the store had before this driver began.
    """

    def __init__(
        self, tracker: Tracker, name: str, search_run_id: str, known: Mapping[str, str] | None
    ):
        self.tracker = tracker
        self._name = name
        self._search_run_id = search_run_id
        self._known = known or {}

    @property
    def masked_uri(self) -> str:
        """The store's address, without a password."""
        return mask(self.tracker.uri, self.tracker.uri)

    def open(self, job: Job, confirms: str | None) -> Run:
        """Return the job's run, a new one the first time. Raises StoreError."""
        file = RunFile(Path(job.folder), self.tracker.uri)
        run = file.read()
        if run is not None:
            return run
        if job.name in self._known:
            run = Run(self._known[job.name])
        else:
            run = Run(
                self.tracker.start_trial(
                    job.config,
                    job.kind,
                    job.number,
                    search_name=self._name,
                    search_run_id=self._search_run_id,
                    of_run=self._confirmed(job, confirms),
                )
            )
        file.write(run)
        return run

    def close(
        self, job: Job, confirms: str | None, state: State, reason: str, numbers: dict[str, float]
    ) -> bool:
        """Close the job's run; return whether the store has taken it. Raises StoreError."""
        run = self.open(job, confirms)
        if run.closed:
            return True
        if not self.tracker.finish_trial(run.id, state, reason, numbers):
            return False
        RunFile(Path(job.folder), self.tracker.uri).write(Run(run.id, closed=True))
        return True

    def _confirmed(self, job: Job, confirms: str | None) -> str | None:
        if confirms is None:
            return None
        run = RunFile(Path(job.folder).with_name(confirms), self.tracker.uri).read()
        return run.id if run else self._known.get(confirms)


def runs_by_name(frame: pd.DataFrame) -> dict[str, str]:
    """Return the ids of a search's runs by the names of their jobs.

    frame: from `search.tracking_reader.Reader.trials`.
    """
    names: dict[str, str] = {}
    columns = (frame[name] for name in ("kind", "trial", "seed", "run_id"))
    for kind, trial, seed, run_id in zip(*columns, strict=True):
        again = kind == "confirmation"
        name = confirmation_name(int(trial), int(seed)) if again else trial_name(int(trial))
        names.setdefault(name, str(run_id))
    return names


class _Task(NamedTuple):
    what: str
    do: Callable[[], bool]


class BackgroundRecorder:
    """The conductor's recorder: notes what is to be done, and does it in order, in a thread."""

    def __init__(self, runs: SearchRuns):
        self._runs = runs
        self._tasks: deque[_Task] = deque()
        self._confirms: dict[str, str | None] = {}
        self._changed = threading.Condition()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._work, name="recorder", daemon=True)
        self._thread.start()

    def start(self, job: Job, confirms: str | None) -> None:
        """Have a job's run opened, unless it is open."""
        self._confirms[job.name] = confirms
        self._add(f"{job.name} opened", lambda: bool(self._runs.open(job, confirms)))

    def finish(self, job: Job, state: State, reason: str, summaries: dict[str, float]) -> None:
        """Have a job's run closed."""
        confirms = self._confirms.pop(job.name, None)
        self._add(
            f"{job.name} closed as {state}",
            lambda: self._runs.close(job, confirms, state, reason, summaries),
        )

    def close(self, seconds: float) -> bool:
        """Wait until all is done, at most so long, then do no more; return whether all is."""
        with self._changed:
            done = self._changed.wait_for(lambda: not self._tasks, seconds)
        self._closing.set()
        return done

    def _add(self, what: str, do: Callable[[], bool]) -> None:
        with self._changed:
            self._tasks.append(_Task(what, do))
            self._changed.notify_all()

    def _work(self) -> None:
        failures = 0
        while not self._closing.is_set():
            with self._changed:
                self._changed.wait_for(lambda: bool(self._tasks))
                task = self._tasks[0]
            if self._done(task, first=failures == 0):
                failures = 0
                with self._changed:
                    self._tasks.popleft()
                    self._changed.notify_all()
            else:
                failures += 1
                self._closing.wait(min(FIRST_WAIT * 2 ** (failures - 1), LONGEST_WAIT))

    def _done(self, task: _Task, first: bool) -> bool:
        try:
            return task.do()
        except (FailedError, OSError) as error:
            if first:
                log.warning(
                    "%s\nThe search goes on; %s is recorded as soon as the store answers.",
                    error,
                    task.what,
                )
            return False

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

from search.backoff import wait_after
from search.errors import FailedError, StoreError
from search.jobs import Job, confirmation_name, trial_name
from search.masking import mask
from search.run_file import Run, RunFile
from search.study import State
from search.tracking import Tracker

log = logging.getLogger("metasweep")


class SearchRuns:
    """The runs of one search's jobs, one a job; every call may be repeated.

    known: ids of runs by job name, which the store had before this driver began.
    """

    def __init__(
        self, tracker: Tracker, name: str, search_run_id: str, known: Mapping[str, str] | None
    ):
        self.tracker = tracker
        self._name = name
        self._search_run_id = search_run_id
        self._known = dict(known or {})
        self._unsure: set[str] = set()
        self._opening = threading.Lock()

    @property
    def masked_uri(self) -> str:
        """The store's address, without a password."""
        return mask(self.tracker.uri, self.tracker.uri)

    def open(self, job: Job, confirms: str | None) -> Run:
        """Return the job's run, a new one the first time. Raises StoreError."""
        with self._opening:
            file = RunFile(Path(job.folder), self.tracker.uri)
            run = file.read()
            if run is not None:
                return run
            if job.name not in self._known:
                self._known[job.name] = self._create(job, self._confirmed(job, confirms))
            run = Run(self._known[job.name])
            self.tracker.describe_trial(run.id, job.config)
            file.write(run)
            return run

    def close(
        self, job: Job, confirms: str | None, state: State, reason: str, numbers: dict[str, float]
    ) -> None:
        """Close the job's run. Raises StoreError."""
        run = self.open(job, confirms)
        if not run.closed:
            self.tracker.finish_trial(run.id, state, reason, numbers)
            RunFile(Path(job.folder), self.tracker.uri).write(Run(run.id, closed=True))
        if job.name in self._unsure:
            self.remove_doubles(Path(job.folder).parent)
            self._unsure.discard(job.name)

    def remove_doubles(self, trials: Path) -> None:
        """Remove what the store opened beside the search's own run, and those in its jobs' folders.

        A server that is asked for a run, and asked again since it does not answer, may carry out
        both, the first one long after the second. Nothing was ever recorded in such a run.
        trials: the folder of the jobs' folders. Raises StoreError.
        """
        for double in self.tracker.doubles(self._search_run_id):
            self.tracker.delete(double)
        for run in self.tracker.open_runs(self._search_run_id):
            tags = (run.tags.get(f"metasweep.{name}", "") for name in ("kind", "trial", "seed"))
            noted = RunFile(trials / _name_of(*tags), self.tracker.uri).read()
            if noted is not None and noted.id != run.run_id:
                self.tracker.delete(run.run_id)

    def _create(self, job: Job, of_run: str | None) -> str:
        try:
            return self.tracker.create_trial(
                job.config,
                job.kind,
                job.number,
                search_name=self._name,
                search_run_id=self._search_run_id,
                of_run=of_run,
                published=job.published,
            )
        except StoreError:
            self._unsure.add(job.name)
            raise

    def _confirmed(self, job: Job, confirms: str | None) -> str | None:
        if confirms is None:
            return None
        run = RunFile(Path(job.folder).with_name(confirms), self.tracker.uri).read()
        if run is None and confirms not in self._known:
            raise StoreError(f"{job.name}: the run of {confirms} is not open yet")
        return run.id if run else self._known[confirms]


def runs_by_name(frame: pd.DataFrame) -> dict[str, str]:
    """Return the ids of a search's runs by the names of their jobs.

    frame: from `search.tracking_reader.Reader.trials`.
    """
    names: dict[str, str] = {}
    columns = (frame[name] for name in ("kind", "trial", "seed", "run_id"))
    for kind, trial, seed, run_id in zip(*columns, strict=True):
        names.setdefault(_name_of(kind, trial, seed), str(run_id))
    return names


def _name_of(kind: str, trial: str | int, seed: str | int) -> str:
    again = kind == "confirmation"
    return confirmation_name(int(trial), int(seed)) if again else trial_name(int(trial))


class _Task(NamedTuple):
    what: str
    do: Callable[[], object]


class BackgroundRecorder:
    """The conductor's recorder: notes what is to be done, and does it in a thread."""

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
        self._add(f"{job.name} opened", lambda: self._runs.open(job, confirms))

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

    def _add(self, what: str, do: Callable[[], object]) -> None:
        with self._changed:
            self._tasks.append(_Task(what, do))
            self._changed.notify_all()

    def _work(self) -> None:
        failures = 0
        while not self._closing.is_set():
            with self._changed:
                self._changed.wait_for(lambda: bool(self._tasks))
                task = self._tasks[0]
            done = self._done(task, first=failures == 0)
            failures = 0 if done else failures + 1
            with self._changed:
                if done:
                    self._tasks.popleft()
                else:
                    # One that is refused for good must not hold up the others.
                    self._tasks.rotate(-1)
                self._changed.notify_all()
            if failures:
                self._closing.wait(wait_after(failures))

    def _done(self, task: _Task, first: bool) -> bool:
        try:
            task.do()
        except (FailedError, OSError) as error:
            if first:
                log.warning(
                    "%s\nThe search goes on; %s is recorded as soon as the store takes it.",
                    error,
                    task.what,
                )
            return False
        except Exception:
            # Whatever it is, a thread that ends here would record nothing more of any job.
            if first:
                log.exception("The search goes on; %s is tried again.", task.what)
            return False
        return True

"""A search through Ray Tune whose trials compute nothing: what its driver does is all that is left.

Real are the driver, Ray's scheduler and processes, the conductor, the study in its database and
TPE. Trials tell what simulated ones tell at their rungs and at their end, in less than a second. As
on a cluster that may grow, some always wait for room: Tune starts a process anew for whoever comes
when none waits, and to start processes would be most of what is measured.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from unittest import mock

from benchmarks import process
from benchmarks.scale_actor import TellingActor
from benchmarks.scale_search import NEWEST, Nobody, halving, specification
from benchmarks.scale_tune import processors
from search import driver, ray_cluster
from search.conductor import Conductor, Plan
from search.config import Config
from search.jobs import Job, Progress
from search.node import Expected
from search.room import Resources
from search.sampling import load_problem, sampler_of
from search.study import SearchStudy, State

Result = TypeVar("Result")
BEST, SEEDS = 3, 2
PAUSE = 0.25
"""Seconds before each word of a trial. Processes must start in less time than trials wait for them,
or Tune gives up each that starts, since another one has become free, and starts the next."""


@dataclass(frozen=True)
class RayMark:
    """How a driver does when so many trials have ended; milliseconds of its processor time a trial.

    suggest_ms: a suggestion, the newest ones. The others are since the mark before: conductor_ms,
    all else that is decided; tune_ms, what Ray Tune takes of the same thread; others_ms, what other
    threads take, which write the study and talk with Ray. reports: of a trial. memory_mb: resident.
    """

    trials: int
    suggest_ms: float
    conductor_ms: float
    tune_ms: float
    others_ms: float
    reports: float
    memory_mb: float

    def share(self, concurrent: int, seconds: float) -> float:
        """Return the part of one core that the thread takes for so many trials of so long."""
        return 1e-3 * (self.suggest_ms + self.conductor_ms + self.tune_ms) * concurrent / seconds


class RaySearch:
    """A search of `trials` on Ray, in a new study of a database."""

    def __init__(self, name: str, url: str, trials: int, processes: int, folder: Path):
        self.spec = specification(trials)
        problem, distribution = load_problem(self.spec, None)
        self._sample = sampler_of(self.spec, problem, distribution)
        self.study = SearchStudy(name, url, "minimize", halving(self.spec), self.spec.seed)
        self._processes, self._folder = processes, folder
        self._suggestions: list[float] = []
        self._conducted = 0.0
        self._told = self._ended = 0
        self._marks: list[RayMark] = []

    def run(self, marks: Collection[int] = ()) -> list[RayMark]:
        """Run the search to its end; return what is found at each number of ended trials."""
        search, began = self, (time.thread_time(), time.process_time())
        before = [0, 0.0, 0.0, 0.0, 0.0, 0]

        class Watching(Nobody):
            def ended(self, job: Job, state: State, progress: Progress, reason: str) -> None:
                search._ended += job.kind == "trial"
                if job.kind == "trial" and search._ended in marks:
                    search._mark(began, before)

        conductor = _Timed(
            Plan(self.spec.budget.trials, None, BEST, SEEDS, None),
            self.study,
            Nobody(),
            Watching(),
            self._folder,
            self._suggest,
            time.monotonic,
        )
        conductor.search = self
        told = json.dumps({"seed": self.spec.seed, "pause": PAUSE})
        with processors(self._processes):
            expected = Expected(ray_cluster.own_node(), str(self._folder), "", None, "", {}, [])
            with mock.patch.object(driver, "is_elastic", return_value=True):
                driver.drive(conductor, Resources(1, 0), told, expected, None, TellingActor)
        return self._marks

    def timed(self, call: Callable[[], Result]) -> Result:
        """Call, and count what it takes beside suggestions to the conductor."""
        began, asked = time.thread_time(), len(self._suggestions)
        try:
            return call()
        finally:
            self._conducted += time.thread_time() - began - sum(self._suggestions[asked:])

    def heard(self) -> None:
        """Count a report."""
        self._told += 1

    def _suggest(self, trial: Any) -> Config:
        began = time.thread_time()
        config = self._sample(trial)
        self._suggestions.append(time.thread_time() - began)
        return config

    def _mark(self, began: tuple[float, float], before: list[float]) -> None:
        thread, whole = time.thread_time() - began[0], time.process_time() - began[1]
        now = [self._ended, thread, whole, self._conducted, sum(self._suggestions), self._told]
        trials, thread, whole, conducted, suggested, told = (
            new - old for new, old in zip(now, before, strict=True)
        )
        before[:] = now
        newest = self._suggestions[-NEWEST:]
        self._marks.append(
            RayMark(
                trials=self._ended,
                suggest_ms=1e3 * sum(newest) / len(newest),
                conductor_ms=1e3 * conducted / trials,
                tune_ms=1e3 * (thread - conducted - suggested) / trials,
                others_ms=1e3 * (whole - thread) / trials,
                reports=told / trials,
                memory_mb=process.resident() / 1e6,
            )
        )


class _Timed(Conductor):
    """A conductor whose work is timed."""

    search: RaySearch

    def next_job(self) -> Any:
        """Return the next job."""
        return self.search.timed(super().next_job)

    def told(self, job: Job, progress: Progress) -> bool:
        """Take in a report."""
        self.search.heard()
        tell = super().told
        return self.search.timed(lambda: tell(job, progress))

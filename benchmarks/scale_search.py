"""A search whose trials take no time: what its driver does is all that is left to measure."""

from __future__ import annotations

import heapq
import itertools
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from benchmarks import process
from benchmarks.scale_story import EPISODES, REDUCTION, RUNGS, SIMULATED, fate, metric
from search.conductor import Conductor, Plan
from search.config import Config
from search.jobs import Job, Phase, Progress
from search.sampling import load_problem, sampler_of
from search.spec import Spec, load_spec
from search.study import Halving, SearchStudy, State
from search.training import seconds_to_report

Result = TypeVar("Result")

SPEC = "sinusoid"
NEWEST = 50


def specification(trials: int) -> Spec:
    """Return a ready-made search of so many trials, with rungs at a ninth and a third of each."""
    settings = {
        "trials": trials,
        "episodes": EPISODES,
        "first_rung": RUNGS[0],
        "reduction_factor": REDUCTION,
    }
    return load_spec(SPEC, {f"budget.{name}": str(value) for name, value in settings.items()})


def halving(spec: Spec) -> Halving:
    """Return when trials are compared."""
    return Halving(spec.first_rung, spec.budget.reduction_factor)


class Nobody:
    """Records nothing and shows nothing: drivers do both in other threads."""

    def start(self, job: Job, confirms: str | None) -> None:
        """Open no run."""

    def finish(self, job: Job, state: State, reason: str, summaries: dict[str, float]) -> None:
        """Close no run."""

    def started(self, job: Job) -> None:
        """Show nothing."""

    def told(self, job: Job, progress: Progress) -> None:
        """Show nothing."""

    def ended(self, job: Job, state: State, progress: Progress, reason: str) -> None:
        """Show nothing."""

    def remarks(self, text: str) -> None:
        """Show nothing."""


class Clock:
    """Seconds of the simulation."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now


def reports(job: Job, seconds: float, seed: int) -> Iterator[tuple[float, Progress]]:
    """Yield what a trial tells of itself, and after how many seconds: as often as trials do."""
    end, part, luck = fate(job.number, seed)
    ends = seconds * part
    history: list[dict[str, float]] = []
    now = 0.0
    for episodes in (*job.config.rungs, EPISODES):
        until = seconds * episodes / EPISODES
        while now + seconds_to_report(now) < min(until, ends):
            now += seconds_to_report(now)
            yield now, Progress("train", int(EPISODES * now / seconds), history=list(history))
        if end != "final" and ends <= until:
            yield ends, Progress(end, episodes - 1, history=list(history), reason=SIMULATED)
            return
        now, value = until, metric(float(job.config.hyper["outer_lr"]), luck, episodes)
        history.append({"episodes": episodes, "value": value})
        phase: Phase = "final" if episodes == EPISODES else "rung"
        yield now, Progress(phase, episodes, value, list(history))


@dataclass(frozen=True)
class Mark:
    """How a driver does when so many trials have ended; milliseconds of its own processor time.

    suggest_ms: a suggestion, the newest ones. decide_ms: a trial's share of all else, the database
    included, since the mark before. reports: of a trial. memory_mb: resident.
    """

    trials: int
    suggest_ms: float
    decide_ms: float
    reports: float
    memory_mb: float

    def share(self, concurrent: int, seconds: float) -> float:
        """Return the part of one core that so many concurrent trials of so many seconds take."""
        return 1e-3 * (self.suggest_ms + self.decide_ms) * concurrent / seconds


class Simulation:
    """A search with an event queue in the place of a cluster."""

    def __init__(self, study: SearchStudy, spec: Spec, concurrent: int, seconds: float):
        self._spec, self._seconds = spec, seconds
        problem, distribution = load_problem(spec, None)
        self._sample = sampler_of(spec, problem, distribution)
        self._clock, nobody = Clock(), Nobody()
        # A limit that never comes, since it has its own price: room for confirmation is reckoned.
        plan = Plan(spec.budget.trials, seconds=1e12, best=3, seeds=2, concurrency=concurrent)
        self.conductor = Conductor(
            plan, study, nobody, nobody, Path("trials"), self._suggest, self._clock, 0.0
        )
        self.conductor.writing_seconds = 60.0  # Simulated trials take no time in which to catch up.
        self._suggestions: list[float] = []
        self._spent = 0.0
        self._told = 0

    def run(self, marks: Collection[int]) -> Iterator[Mark]:
        """Run the search; yield what is found at each number of ended trials."""
        ended, before = 0, (0, 0.0, 0)
        for job in self._ended():
            ended += job.kind == "trial"
            if job.kind == "trial" and ended in marks:
                now = (ended, self._spent, self._told)
                trials, spent, told = (new - old for new, old in zip(now, before, strict=True))
                before = now
                newest = self._suggestions[-NEWEST:]
                yield Mark(
                    trials=ended,
                    suggest_ms=1e3 * sum(newest) / len(newest),
                    decide_ms=1e3 * spent / trials,
                    reports=told / trials,
                    memory_mb=process.resident() / 1e6,
                )

    def _ended(self) -> Iterator[Job]:
        """Run the search; yield jobs as they end."""
        order = itertools.count()
        queue: list[tuple[float, int, Job, Progress, Iterator[tuple[float, Progress]], float]] = []

        def following(job: Job, story: Iterator[tuple[float, Progress]], began: float) -> None:
            after, progress = next(story)
            heapq.heappush(queue, (began + after, next(order), job, progress, story, began))

        while True:
            while isinstance(job := self._timed(self.conductor.next_job), Job):
                story = reports(job, self._seconds, self._spec.seed)
                following(job, story, self._clock.now)
            if not queue:
                return
            self._clock.now, _, job, progress, story, began = heapq.heappop(queue)
            self._told += 1
            stop = self._timed(partial(self.conductor.told, job, progress))
            if stop or progress.ended:
                yield job
            else:
                following(job, story, began)

    def _timed(self, call: Callable[[], Result]) -> Result:
        before, asked = time.process_time(), len(self._suggestions)
        result = call()
        self._spent += time.process_time() - before - sum(self._suggestions[asked:])
        return result

    def _suggest(self, trial: Any) -> Config:
        before = time.process_time()
        config = self._sample(trial)
        self._suggestions.append(time.process_time() - before)
        return config

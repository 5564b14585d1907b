"""A search conducted without Ray: the clock, the jobs and the recorder are in the test's hands."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from search.conductor import Conductor, Plan
from search.config import Config
from search.jobs import Job, Progress
from search.study import Halving, SearchStudy
from search.study_writer import PATIENT, Patience
from tests.search.small_runs import small_config

FIRST_RUNG, FULL = 8, 24


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Recorder:
    """Notes the runs that are opened and closed, by the names of their jobs."""

    def __init__(self) -> None:
        self.started: dict[str, tuple[Job, str | None]] = {}
        self.finished: dict[str, tuple[str, str, dict[str, float]]] = {}

    def start(self, job: Job, confirms: str | None) -> None:
        self.started.setdefault(job.name, (job, confirms))

    def finish(self, job: Job, state: str, reason: str, summaries: dict[str, float]) -> None:
        assert job.name in self.started
        assert job.name not in self.finished
        self.finished[job.name] = (state, reason, summaries)


class Listener:
    def __init__(self) -> None:
        self.events: list[tuple[str, str]] = []

    def started(self, job: Job) -> None:
        self.events.append(("started", job.name))

    def told(self, job: Job, progress: Progress) -> None:
        self.events.append((progress.phase, job.name))

    def ended(self, job: Job, state: str, progress: Progress, reason: str) -> None:
        self.events.append((state, job.name))

    def remarks(self, text: str) -> None:
        self.events.append(("remarks", text))


def sample(trial: Any) -> Config:
    return small_config(inner_lr=trial.suggest_float("inner_lr", 0.0, 1.0), rungs=(8,))


class Search:
    """A study in a database, and the conductor that works on it at the moment."""

    def __init__(self, folder: Path, patience: Patience = PATIENT) -> None:
        folder.mkdir(exist_ok=True)
        self._patience = patience
        self.url = f"sqlite:///{folder / 'study.db'}"
        self.folder = folder / "trials"
        self.clock, self.recorder, self.listener = Clock(), Recorder(), Listener()
        self.study = self.open()
        self.conductor: Conductor

    def open(self, seed: int = 0) -> SearchStudy:
        return SearchStudy(
            "test", self.url, "minimize", Halving(FIRST_RUNG, 3), seed, self._patience
        )

    def conduct(self, **plan: Any) -> Conductor:
        """Put a new conductor on the study, as after a restart."""
        defaults = {"trials": None, "seconds": None, "best": 0, "seeds": 0, "concurrency": None}
        self.study.written(10.0)
        self.study = self.open()
        self.conductor = Conductor(
            Plan(**defaults | plan),
            self.study,
            self.recorder,
            self.listener,
            self.folder,
            sample,
            self.clock,
        )
        self.conductor.writing_seconds = 60.0  # A busy machine's disk is not away.
        return self.conductor

    def job(self) -> Job:
        job = self.conductor.next_job()
        assert isinstance(job, Job)
        return job

    def finish(self, job: Job, value: float = 0.5, took: float = 0.0) -> None:
        """Let a job end well, so many seconds after it first told of itself."""
        if took:
            self.conductor.told(job, training(0))
        self.clock.now += took
        assert not self.conductor.told(job, final(value))

    @contextmanager
    def written_at_once(self) -> Iterator[None]:
        """Have what the study is told within written together, in one transaction."""
        # Held again and again by who adds; let go while one waits for what is written.
        with self.study._storage._database._writer._changed:
            yield

    def states(self) -> list[str]:
        return [trial.state.name for trial in self.study.trials()]


def final(value: float) -> Progress:
    history = [{"episodes": FULL, "value": value}]
    return Progress("final", FULL, value, history, {"validation_mean": value})


def rung(value: float, episodes: int = FIRST_RUNG) -> Progress:
    return Progress("rung", episodes, value, [{"episodes": episodes, "value": value}])


def training(episodes: int = 4, history: list[dict[str, float]] | None = None) -> Progress:
    return Progress("train", episodes, history=history or [])


def remaining(search: Search, value: Callable[[Job], float] = lambda job: 0.5) -> list[Job]:
    """Run what is left, one job at a time, and return it."""
    jobs = []
    while isinstance(job := search.conductor.next_job(), Job):
        jobs.append(job)
        assert len(jobs) < 50, "the search does not end"
        search.finish(job, value(job))
    return jobs

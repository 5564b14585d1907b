"""Whom a conductor tells what happens: who records it, and who watches."""

from __future__ import annotations

from typing import Protocol

from search.jobs import Job, Progress
from search.study import State


class Recorder(Protocol):
    """Where runs are recorded; `search.tracking` has the real one."""

    def start(self, job: Job, confirms: str | None) -> None:
        """Open the run of a job, unless it is open; `confirms` names the job that it repeats."""
        ...

    def finish(self, job: Job, state: State, reason: str, summaries: dict[str, float]) -> None:
        """Close the run of a job."""
        ...


class Listener(Protocol):
    """Who watches."""

    def started(self, job: Job) -> None:
        """A job was handed out."""
        ...

    def told(self, job: Job, progress: Progress) -> None:
        """A running job told of itself."""
        ...

    def ended(self, job: Job, state: State, progress: Progress, reason: str) -> None:
        """A job ended."""
        ...

    def remarks(self, text: str) -> None:
        """What concerns no job alone is to be told, such as why nothing runs."""
        ...

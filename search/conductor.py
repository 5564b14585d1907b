"""Decides what runs next, what stops and what a search ends as. Knows no Ray.

The driver asks `next_job` whenever it has room, passes what jobs tell to `told`, and their ends to
`lost`. All of it runs in one thread of one process, and time comes from a clock that is handed in.

While the study's database is away, none of these waits: what jobs tell is judged by what is in
memory, as ever, and written when the database is back. Only new jobs wait until then, since who
goes on with a search must find every one that was begun, and so do the records of ended ones.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from enum import Enum, auto
from pathlib import Path
from typing import Any

from search.config import Config
from search.errors import FailedError, UserError
from search.jobs import Job, Kind, Progress, fresh_seed, trial_name
from search.observers import Listener, Recorder
from search.study import (
    CONFIG,
    CONFIRMED,
    CONFIRMED_REASON,
    FULL_RUN,
    REFERENCE,
    SearchStudy,
    State,
)

CONFIRMATION_SHARE = 0.4
"""Of the time limit, what is kept free for confirmation at the most."""

MORE_ROOM = 2
"""A job that ran out of memory is run once more, with so many times the memory."""

WRITING_SECONDS = 1.0
"""What the driver waits for the study to be written, before it goes on without that."""

STARTED_AGAIN = "its process died; it is started again, from its last checkpoint"


class Nothing(Enum):
    """Why there is no next job."""

    YET = auto()
    MORE = auto()


@dataclass(frozen=True)
class Plan:
    """What a search is to do.

    trials: how many; None for as many as fit the time limit.
    seconds: time that is left, confirmation included; None for no limit.
    best, seeds: the best few configurations are trained again, with so many fresh seeds each.
    concurrency: jobs that run at once, as far as known; None when the cluster decides.
    """

    trials: int | None
    seconds: float | None
    best: int
    seeds: int
    concurrency: int | None


class Conductor:
    """One search, from its first trial to its last confirmation.

    again: jobs that are COMPLETE to the study, of which files were damaged before they were
        recorded: they are run once more, and nothing of them is told to the study.
    """

    def __init__(
        self,
        plan: Plan,
        study: SearchStudy,
        recorder: Recorder,
        listener: Listener,
        folder: Path,
        sample: Callable[[Any], Config],
        clock: Callable[[], float],
        began: float | None = None,
        again: Sequence[Job] = (),
    ):
        self.plan = plan
        self.study = study
        self.recorder = recorder
        self.listener = listener
        self.folder = folder
        self.sample = sample
        self.clock = clock
        self.began = clock() if began is None else began
        self.interrupted = False
        self.blocked = ""
        self.running: dict[str, Job] = {}
        self._last: dict[str, Progress] = {}
        self._first_told: dict[str, float] = {}
        self._full_runs = {
            trial.number: float(trial.user_attrs.get(FULL_RUN, 0.0))
            for trial in study.trials("COMPLETE")
        }
        self._interrupted_trials = [trial.number for trial in study.trials("RUNNING")]
        self._confirmations: list[tuple[int, int]] | None = None
        self._once_more: list[Job] = []
        self._again = list(again)
        self._known = {job.name for job in again}
        self.writing_seconds = WRITING_SECONDS
        self._chosen: Job | None = None
        self._unrecorded: deque[tuple[Job, State, str, dict[str, float]]] = deque()

    def next_job(self) -> Job | Nothing:
        """Return what to run next; `Nothing.YET` to be asked again, `Nothing.MORE` at the end."""
        with self._blocked_by_the_study():
            return self._next_job()
        return Nothing.MORE

    def leave(self) -> None:
        """End, and leave the study where it is to be gone on with.

        What it has not taken by then, the jobs tell again when they are gone on with.
        """
        with self._blocked_by_the_study():
            self._written()
        if self.interrupted:
            self.study.close()

    def told(self, job: Job, progress: Progress) -> bool:
        """Take what a job tells; return whether it must stop now.

        A job that is blocked stays as it is, and so does the search: both can be gone on with.
        """
        with self._blocked_by_the_study():
            stop = self._told(job, progress)
            self._written()
            return stop
        return True

    def lost(self, job: Job, reason: str) -> None:
        """Take note that a job's process ended without a word, for good."""
        with self._blocked_by_the_study():
            if job.name in self.running:
                self._end(job, "FAIL", reason)
                self._written()

    def died(self, job: Job) -> None:
        """Take note that a job's process died; it goes on from its checkpoint in another one."""
        if job.name in self.running:
            last = self._last.get(job.name, Progress("train", 0))
            self.listener.told(job, replace(last, reason=STARTED_AGAIN))

    def block(self, reason: str) -> None:
        """Stop the search where it is, so that it can be gone on with."""
        self.blocked, self.interrupted = reason, True

    @contextmanager
    def _blocked_by_the_study(self) -> Iterator[None]:
        """Stop the search, so that it can be gone on with, when its database stays away.

        Or when a trial in it was made by another version of metasweep.
        """
        try:
            yield
        except FailedError as error:
            self.block(str(error))

    def _written(self) -> bool:
        """Return whether the study is written; what has ended is then recorded as well."""
        if not self.study.written(self.writing_seconds):
            return False
        while self._unrecorded:
            self.recorder.finish(*self._unrecorded.popleft())
        return True

    def _next_job(self) -> Job | Nothing:
        if self.interrupted:
            return Nothing.MORE
        if not self._written():
            return Nothing.YET
        if self._chosen is None:
            found = self._choose()
            if isinstance(found, Nothing):
                # The last words of a search are written before it is over.
                return found if self._written() else Nothing.YET
            self._chosen = found
            if not self._written():
                return Nothing.YET
        job, self._chosen = self._chosen, None
        return self._hand_out(job)

    def _choose(self) -> Job | Nothing:
        if self.plan.concurrency is not None and len(self.running) >= self.plan.concurrency:
            return Nothing.YET
        if self._once_more:
            return self._once_more.pop(0)
        if self._again:
            job = self._again.pop(0)
            return self._job(job.kind, job.number, job.config)
        if self._interrupted_trials:
            return self._continued(self._interrupted_trials.pop(0))
        if self._confirmations is None and self._may_search():
            return self._new_trial()
        if self._confirmations is None:
            if self.running:
                return Nothing.YET
            self._confirmations = self._to_confirm()
        if self._confirmations:
            number, seed = self._confirmations[0]
            if not self._out_of_time(self._seconds_of(number)):
                del self._confirmations[0]
                return self._confirmation(number, seed)
        if self.running:
            return Nothing.YET
        self._give_up_confirmations()
        return Nothing.MORE

    def _give_up_confirmations(self) -> None:
        """End those that an earlier driver had begun and that no time is left for."""
        left, self._confirmations = self._confirmations or [], []
        for number, seed in left:
            job = self._confirmation(number, seed)
            if Path(job.folder).exists():
                self._hand_out(job)
                self._end(job, "PRUNED", "time limit reached before it was gone on with")

    def _told(self, job: Job, progress: Progress) -> bool:
        if progress.phase == "unfit":  # Nothing of it ran: it is as if never handed out.
            del self.running[job.name]
            self._once_more.append(job)
            return False
        # A process that starts takes its time once; what a run takes counts from its first word.
        self._first_told.setdefault(job.name, self.clock())
        if progress.ended and not progress.episodes and job.name in self._last:
            # Who tells why it ended may not know how far it came.
            last = self._last[job.name]
            progress = replace(progress, episodes=last.episodes, summaries=last.summaries)
        self._last[job.name] = progress
        self.listener.told(job, progress)
        if progress.phase == "blocked":
            self.block(progress.reason)
            return True
        if progress.phase == "out_of_memory" and job.room < MORE_ROOM:
            del self.running[job.name]
            self._once_more.append(replace(job, room=MORE_ROOM))
            return False
        known = job.name in self._known
        reports = job.kind == "trial" and not known
        if reports and self._report(job, progress) and not progress.ended:
            self._end(
                job, "PRUNED", f"pruned by successive halving at {progress.episodes} episodes"
            )
            return True
        if progress.phase == "final":
            self._time_full_run(job, progress)
            self._end(job, "COMPLETE", "")
        elif progress.phase == "failed":
            self._end(job, "FAIL", progress.reason)
        elif progress.ended:
            self._end(job, "PRUNED", progress.reason)
        elif not known and self._must_make_room(job):
            self._end(job, "PRUNED", f"time limit reached at {progress.episodes} episodes")
            return True
        return False

    def _report(self, job: Job, progress: Progress) -> bool:
        """Bring the study up to date with a trial's history; return whether to prune it.

        What the configuration itself is to blame for counts as NaN, the worst of values.
        """
        known = self.study.intermediate_values(job.number)
        history = list(progress.history)
        if progress.phase in ("diverged", "out_of_memory"):
            # Samplers judge a pruned trial by the last of its values.
            reported = [*known, *(int(entry["episodes"]) for entry in history)]
            last = max(progress.episodes, 1 + max(reported, default=-1))
            history.append({"episodes": last, "value": math.nan})
        prune = False
        for entry in history:
            episodes = int(entry["episodes"])
            if episodes not in known:
                prune = self.study.report(job.number, episodes, entry["value"])
        return prune

    def _end(self, job: Job, state: State, reason: str) -> None:
        progress = self._last.get(job.name, Progress("failed", 0))
        del self.running[job.name]
        if job.name in self._known:
            if state != "COMPLETE":
                raise FailedError(
                    f"{job.name}: COMPLETE, but its result is damaged in {job.folder}, and running "
                    f"it again from what is whole failed: {reason}"
                )
        elif job.kind == "trial":
            self.study.tell(job.number, state, progress.value, reason)
        else:
            which = f"{job.number}/{job.config.seed}"
            if reason:
                self.study.note(f"{CONFIRMED_REASON}/{which}", reason)
            self.study.note(f"{CONFIRMED}/{which}", state)
        self._unrecorded.append((job, state, reason, progress.summaries))
        self.listener.ended(job, state, progress, reason)

    def _time_full_run(self, job: Job, progress: Progress) -> None:
        """Note how long a full run takes, for a driver that goes on with the search as well.

        Of a job that was interrupted only the end was seen, but it knows how long it has trained.
        """
        seen = self.clock() - self._first_told[job.name]
        seconds = max(seen, progress.summaries.get("train_seconds", 0.0))
        self._full_runs[job.number] = seconds
        if job.kind == "trial" and job.name not in self._known:
            self.study.annotate(job.number, FULL_RUN, seconds)

    def _hand_out(self, job: Job) -> Job:
        self.recorder.start(job, trial_name(job.number) if job.kind == "confirmation" else None)
        self.running[job.name] = job
        self.listener.started(job)
        return job

    def _new_trial(self) -> Job:
        trial = self.study.ask()
        return self._trial(trial.number, trial)

    def _continued(self, number: int) -> Job:
        """Return the job of a trial that an earlier driver left running."""
        if CONFIG not in self.study.attributes(number):
            # The driver ended right after asking: nothing ran, so it starts afresh.
            return self._trial(number, self.study.handle(number))
        return self._job("trial", number, self._config(number))

    def _trial(self, number: int, trial: Any) -> Job:
        """Return the job of a trial that has no configuration yet."""
        config = self.sample(trial)
        config = replace(config, seed=config.seed + number * config.seeds)
        self.study.annotate(number, CONFIG, config.to_dict())
        return self._job("trial", number, config)

    def _confirmation(self, number: int, seed: int) -> Job:
        config = self._config(number)
        return self._job("confirmation", number, replace(config, seed=seed))

    def _job(self, kind: Kind, number: int, config: Config) -> Job:
        published = kind == "trial" and REFERENCE in self.study.attributes(number)
        job = Job(kind, number, config, "", published=published)
        return replace(job, folder=str(self.folder / job.name))

    def _to_confirm(self) -> list[tuple[int, int]]:
        """List (trial, seed) of the confirmations still to be run, every first seed first."""
        pairs = [
            (trial.number, fresh_seed(self._config(trial.number), seed))
            for seed in range(self.plan.seeds)
            for trial in self.study.best(self.plan.best)
        ]
        done = self.study.notes()
        return [
            (number, seed) for number, seed in pairs if f"{CONFIRMED}/{number}/{seed}" not in done
        ]

    def _config(self, number: int) -> Config:
        """Return the configuration of a trial. Raises FailedError when it is no longer one."""
        try:
            return Config.from_dict(self.study.attributes(number)[CONFIG])
        except UserError as error:
            raise FailedError(f"{trial_name(number)}: {error}") from error

    def _may_search(self) -> bool:
        asked = len(self.study.trials("COMPLETE", "PRUNED", "FAIL", "RUNNING"))
        if self.plan.trials is not None and asked >= self.plan.trials:
            return False
        return not self._out_of_time(self._confirmation_seconds())

    def _must_make_room(self, job: Job) -> bool:
        reserve = self._confirmation_seconds() if job.kind == "trial" else 0.0
        return self._out_of_time(reserve)

    def _out_of_time(self, reserve: float = 0.0) -> bool:
        if self.plan.seconds is None:
            return False
        return self.clock() - self.began + reserve >= self.plan.seconds

    def _confirmation_seconds(self) -> float:
        """Estimate what confirming the best so far will take, at most a part of the time limit."""
        if self.plan.seconds is None:
            return 0.0
        runs = [self._full_runs.get(trial.number, 0.0) for trial in self.study.best(self.plan.best)]
        together = self.plan.concurrency or len(runs) * self.plan.seeds or 1
        seconds = max(self.plan.seeds * sum(runs) / together, max(runs, default=0.0))
        return min(seconds, CONFIRMATION_SHARE * self.plan.seconds)

    def _seconds_of(self, number: int) -> float:
        """Return how long a trial's first full run took; 0 where that is not known."""
        return self._full_runs.get(number, 0.0)

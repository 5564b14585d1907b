"""Hundreds of trials that end in every way, and thousands, under drivers that are killed."""

from __future__ import annotations

import heapq
import itertools
import math
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import optuna
import pytest
import sqlalchemy

from search import study
from search.jobs import Job, Progress
from search.study import REASON
from tests.search.conducting import FIRST_RUNG, FULL, Search, final, rung, training

CONCURRENT, BEST = 64, 3

ENDS = {"final": 0.82, "diverged": 0.06, "failed": 0.06, "lost": 0.03, "out_of_memory": 0.03}
STATES = {"final": "COMPLETE", "diverged": "PRUNED", "failed": "FAIL", "lost": "FAIL"}
QUICK_COMMITS = "PRAGMA synchronous = OFF"


@dataclass
class Fate:
    """What becomes of a trial, whichever driver watches. told: how many of its words were heard."""

    end: str
    value: float
    seconds: float
    told: int = 0

    def words(self) -> list[Progress]:
        """List all that it tells, unless it is stopped; who is lost falls silent after it."""
        history = rung(self.value).history
        first = [training(), rung(self.value), training(12, history)]
        if self.end == "final":
            last = final(self.value / 2)
            return [*first, Progress("final", FULL, last.value, history + last.history)]
        if self.end in ("diverged", "failed", "out_of_memory"):
            return [*first, Progress(self.end, 16, history=history, reason=self.end)]  # type: ignore[arg-type]
        return first


class Cluster:
    """Runs jobs in simulated time, and remembers what it was asked to run."""

    def __init__(self, search: Search, seed: int) -> None:
        self.search = search
        self.rng = random.Random(seed)
        self.fates: dict[str, Fate] = {}
        self.expected: dict[str, str] = {}
        self.handed_out: Counter[str] = Counter()
        self.kills = 0
        self._order = itertools.count()
        self._queue: list[tuple[float, int, Job]] = []

    def run(self) -> Iterator[Job]:
        """Run until there is no more; yield each job that ended."""
        while True:
            while isinstance(job := self.search.conductor.next_job(), Job):
                self._start(job)
            if not self._queue:
                return
            self.search.clock.now, _, job = heapq.heappop(self._queue)
            if self._hear(job):
                yield job

    def kill(self) -> None:
        """End the driver and all that it watched."""
        self._queue.clear()
        self.kills += 1

    def _start(self, job: Job) -> None:
        assert len(self._queue) < CONCURRENT
        assert job.name not in {other.name for _, _, other in self._queue}
        assert job.name not in self.expected, "it has ended"
        self.handed_out[job.name] += 1
        if job.name not in self.fates:
            (end,) = self.rng.choices(list(ENDS), list(ENDS.values()))
            self.fates[job.name] = Fate(end, self.rng.random(), self.rng.uniform(1, 60))
        fate = self.fates[job.name]
        if job.room > 1 and fate.end == "out_of_memory":
            fate.end = "final"
        fate.told = max(0, fate.told - 1)  # What was not sealed, it does again.
        self._push(job)

    def _push(self, job: Job) -> None:
        at = self.search.clock.now + self.fates[job.name].seconds / 4
        heapq.heappush(self._queue, (at, next(self._order), job))

    def _hear(self, job: Job) -> bool:
        fate = self.fates[job.name]
        words = fate.words()
        if fate.told == len(words):
            self.search.conductor.lost(job, "its process died")
            self.expected[job.name] = "FAIL"
            return True
        progress = words[fate.told]
        fate.told += 1
        stop = self.search.conductor.told(job, progress)
        if stop:
            self.expected[job.name] = "PRUNED"
        elif progress.phase == "out_of_memory":
            fate.told = 0
            return False
        elif progress.ended:
            self.expected[job.name] = STATES[fate.end]
        else:
            self._push(job)
        return stop or progress.ended


def drive(search: Search, trials: int) -> None:
    """Put a new driver in charge."""
    plan = {"trials": trials, "best": BEST, "seeds": 2, "concurrency": CONCURRENT}
    search.conduct(**plan, seconds=1e9)
    # Nobody cuts the power in this test, and waiting for the disk is most of what it would do.
    engine = search.study._storage._database._storage.engine
    sqlalchemy.event.listen(engine, "checkout", lambda db, *_: db.execute(QUICK_COMMITS))


@pytest.mark.timeout(900)
@pytest.mark.parametrize("number", [800, pytest.param(2000, marks=pytest.mark.faults)])
def test_every_trial_is_accounted_for(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A driver is killed when so many trials have ended.
    kills = (number // 7, number // 7 + 1, number)
    monkeypatch.setattr(study, "SEEN_NEWEST", 50)  # Better suggestions take longer.
    search = Search(tmp_path)
    search.study.enqueue({"inner_lr": 0.125})
    drive(search, number)
    cluster = Cluster(search, seed=0)
    ended = 0
    while True:
        for job in cluster.run():
            ended += job.kind == "trial"
            if cluster.kills < len(kills) and ended == kills[cluster.kills]:
                cluster.kill()
                drive(search, number)
                break
        else:
            break

    assert cluster.kills == len(kills)
    stored = optuna.load_study(study_name="test", storage=search.url).trials
    assert [trial.number for trial in stored] == list(range(number))
    trials = {f"trial-{trial.number:03d}": trial for trial in stored}
    ends = {name: end for name, end in cluster.expected.items() if name in trials}
    assert {name: trial.state.name for name, trial in trials.items()} == ends
    counts = Counter(ends.values())
    assert all(counts[state] > number // 50 for state in ("COMPLETE", "PRUNED", "FAIL"))

    for name, trial in trials.items():
        fate = cluster.fates[name]
        if trial.state.name == "COMPLETE":
            assert trial.value == fate.value / 2
            assert trial.intermediate_values == {FIRST_RUNG: fate.value, FULL: fate.value / 2}
        else:
            assert trial.user_attrs[REASON]
            assert trial.intermediate_values[FIRST_RUNG] == fate.value
        if fate.end == "diverged" and "diverged" in trial.user_attrs.get(REASON, ""):
            assert math.isnan(trial.intermediate_values[16])
    assert stored[0].params == {"inner_lr": 0.125}
    assert len({trial.params["inner_lr"] for trial in stored}) == number

    confirmed = [name for name in cluster.expected if name not in trials]
    assert len(confirmed) == 2 * BEST
    best = sorted(
        (trial for trial in stored if trial.state.name == "COMPLETE"), key=lambda t: t.value
    )
    assert {name.split("-")[1] for name in confirmed} == {f"{t.number:03d}" for t in best[:BEST]}
    # Handed out more than once: only what a driver's end interrupted, or lack of memory.
    again = sum(count - 1 for count in cluster.handed_out.values())
    short = sum(job.room > 1 for job, _ in search.recorder.started.values())
    assert again <= cluster.kills * CONCURRENT + number * 3 * ENDS["out_of_memory"] + short
    assert search.recorder.finished.keys() == cluster.expected.keys()

"""How a conductor confirms the best."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from search.conductor import Nothing
from search.config import Config
from search.jobs import Job, Progress, fresh_seed
from tests.search.conducting import Search, remaining, sample


@pytest.fixture
def search(tmp_path: Path) -> Search:
    return Search(tmp_path)


def run_trials(search: Search, values: Mapping[int, float]) -> None:
    jobs = [search.job() for _ in values]
    for job in jobs:
        search.finish(job, values[job.number])


VALUES = {0: 0.4, 1: 0.1, 2: 0.3, 3: 0.2}
CONFIRMED = [(1, 0), (3, 0), (2, 0), (1, 1), (3, 1), (2, 1)]
"""Trial and place of the seed: the best three, every first seed first."""


def numbers_and_seeds(jobs: list[Job]) -> list[tuple[int, int]]:
    seeds = sorted({job.config.seed for job in jobs})
    return [(job.number, seeds.index(job.config.seed)) for job in jobs]


def test_the_best_are_trained_again_with_fresh_seeds(search: Search) -> None:
    search.conduct(trials=4, best=3, seeds=2)
    run_trials(search, VALUES)
    trials = {job.number: job.config for job, _ in search.recorder.started.values()}
    jobs = remaining(search)
    assert numbers_and_seeds(jobs) == CONFIRMED
    assert {job.kind for job in jobs} == {"confirmation"}
    assert len({job.name for job in jobs}) == 6
    for job in jobs:
        trained = trials[job.number]
        assert job.config == replace(trained, seed=job.config.seed)
        assert job.config.seed not in {config.seed for config in trials.values()}
    assert search.recorder.started[jobs[-1].name][1] == "trial-002"  # which it repeats
    assert search.states() == ["COMPLETE"] * 4


@pytest.mark.parametrize("seeds", [1, 5])
def test_fresh_seeds_are_none_of_those_that_the_trial_had(config: Config, seeds: int) -> None:
    for seed in (0, 9_996, 10_000, 10_003, 10_004, 10_999, 14_999, 15_000):
        of_trial = replace(config, seed=seed, seeds=seeds)
        fresh = [fresh_seed(of_trial, number) + i for number in range(1000) for i in range(seeds)]
        assert len(set(fresh)) == 1000 * seeds
        assert not set(fresh) & set(range(seed, seed + seeds))
    assert fresh_seed(replace(config, seed=7, seeds=seeds), 2) == 10_000 + 2 * seeds


def test_confirmation_waits_for_the_last_trial(search: Search) -> None:
    search.conduct(trials=2, best=1, seeds=1)
    first, last = search.job(), search.job()
    search.finish(first, 0.3)
    assert search.conductor.next_job() is Nothing.YET
    search.finish(last, 0.2)
    assert search.job().number == last.number


def test_only_finished_trials_are_confirmed(search: Search) -> None:
    search.conduct(trials=3, best=3, seeds=1)
    good, diverged, broken = search.job(), search.job(), search.job()
    search.conductor.told(diverged, Progress("diverged", 8, reason="training loss is nan"))
    search.conductor.told(broken, Progress("failed", 0, reason="KeyError"))
    search.finish(good)
    assert [job.number for job in remaining(search)] == [good.number]


def test_a_confirmation_that_fails_leaves_its_trial_as_it_is(search: Search) -> None:
    search.conduct(trials=1, best=1, seeds=2)
    search.finish(search.job(), 0.2)
    first = search.job()
    search.conductor.told(first, Progress("diverged", 8, reason="training loss is nan"))
    assert search.recorder.finished[first.name][0] == "PRUNED"
    which = f"0/{first.config.seed}"
    assert search.study.notes()[f"confirmed/{which}"] == "PRUNED"
    assert search.study.notes()[f"confirmed_reason/{which}"] == "training loss is nan"
    search.conductor.lost(search.job(), "its process died")
    assert search.conductor.next_job() is Nothing.MORE
    (trial,) = search.study.trials()
    assert (trial.state.name, trial.value) == ("COMPLETE", 0.2)


def test_confirmations_are_not_repeated_after_a_restart(search: Search) -> None:
    search.conduct(trials=4, best=3, seeds=2)
    run_trials(search, VALUES)
    done = [search.job(), search.job()]
    for job in done:
        search.finish(job)
    cut_off = search.job()
    search.conductor.interrupted = True
    assert search.conductor.next_job() is Nothing.MORE

    search.conduct(trials=4, best=3, seeds=2)
    left = remaining(search)
    assert left[0] == cut_off  # its folder and seed included
    assert numbers_and_seeds([*done, *left]) == CONFIRMED
    assert len(search.recorder.started) == 4 + 6

    search.conduct(trials=4, best=3, seeds=2)
    assert search.conductor.next_job() is Nothing.MORE


def test_seeds_of_replicas_never_meet(search: Search, monkeypatch: pytest.MonkeyPatch) -> None:
    def several(trial: Any) -> Config:
        return replace(sample(trial), seeds=3)

    conductor = search.conduct(trials=3, best=2, seeds=2)
    monkeypatch.setattr(conductor, "sample", several)
    jobs = [search.job() for _ in range(3)]
    for job in jobs:
        search.finish(job)
    confirmations = [search.job() for _ in range(4)]
    assert [job.kind for job in confirmations] == ["confirmation"] * 4
    seeds = {
        job.name: set(range(job.config.seed, job.config.seed + job.config.seeds))
        for job in [*jobs, *confirmations]
    }
    of_trials = [seeds[job.name] for job in jobs]
    assert len(set.union(*of_trials)) == 9
    of_confirmations = [seeds[job.name] for job in confirmations]
    assert len(set.union(*of_confirmations)) == 6  # the two best have the same fresh seeds
    assert not set.union(*of_trials) & set.union(*of_confirmations)

"""What the conductor hands out, when it stops, and what it makes of interruptions."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from search.conductor import Nothing
from search.config import Config
from search.errors import UserError
from search.jobs import Job, Progress
from search.study import REASON, Halving, SearchStudy
from tests.search.conducting import (
    FIRST_RUNG,
    FULL,
    Search,
    rung,
    sample,
    training,
)


@pytest.fixture
def search(tmp_path: Path) -> Search:
    return Search(tmp_path)


def test_as_many_trials_are_run_as_asked_for(search: Search) -> None:
    conductor = search.conduct(trials=3)
    jobs = [search.job() for _ in range(3)]
    assert conductor.next_job() is Nothing.YET
    assert [job.number for job in jobs] == [0, 1, 2]
    for job in jobs:
        search.finish(job)
    assert conductor.next_job() is Nothing.MORE
    assert search.states() == ["COMPLETE"] * 3
    assert search.recorder.finished["trial-001"] == ("COMPLETE", "", {"validation_mean": 0.5})
    assert conductor.running == {}


def test_a_job_has_its_own_seed_and_folder(search: Search) -> None:
    search.conduct(trials=2)
    first, second = search.job(), search.job()
    assert second.config.seed == first.config.seed + 1
    assert first.folder == str(search.folder / "trial-000")
    assert Job.from_json(second.to_json()) == second


def test_no_more_jobs_run_at_once_than_planned(search: Search) -> None:
    conductor = search.conduct(trials=5, concurrency=2)
    first, _ = search.job(), search.job()
    assert conductor.next_job() is Nothing.YET
    search.finish(first)
    assert search.job().number == 2
    assert conductor.next_job() is Nothing.YET


def test_enqueued_parameters_come_first(search: Search) -> None:
    for value in (0.125, 0.875):
        search.study.enqueue({"inner_lr": value})
        search.study.enqueue({"inner_lr": value})
    search.conduct(trials=3)
    values = [search.job().config.hyper["inner_lr"] for _ in range(3)]
    assert values[:2] == [0.125, 0.875]
    assert values[2] not in values[:2]
    assert isinstance(search.conductor.next_job(), Nothing)


def test_a_listener_hears_everything(search: Search) -> None:
    search.conduct(trials=1)
    job = search.job()
    search.conductor.told(job, training())
    search.conductor.told(job, rung(0.5))
    search.finish(job)
    events = ["started", "train", "rung", "final", "COMPLETE"]
    assert search.listener.events == [(event, "trial-000") for event in events]


@pytest.mark.parametrize("phase", ["diverged", "out_of_memory"])
def test_a_configuration_that_fails_by_its_own_doing_is_pruned_as_the_worst(
    search: Search, phase: Any
) -> None:
    search.conduct(trials=1)
    job = search.job()
    search.conductor.told(job, rung(0.25))
    if phase == "out_of_memory":
        search.conductor.told(job, Progress(phase, 12, reason="out of memory"))
        job = search.job()
    told = Progress(phase, 12, history=rung(0.25).history, reason="training loss is nan")
    assert not search.conductor.told(job, told)
    (trial,) = search.study.trials()
    assert trial.state.name == "PRUNED"
    assert trial.intermediate_values[FIRST_RUNG] == 0.25
    assert math.isnan(trial.intermediate_values[12])
    assert trial.user_attrs[REASON] == "training loss is nan"
    assert search.recorder.finished == {"trial-000": ("PRUNED", "training loss is nan", {})}
    assert search.listener.events[-1] == ("PRUNED", "trial-000")
    assert search.study.best(1) == []


def test_lack_of_memory_is_tried_once_more_with_more_room(search: Search) -> None:
    conductor = search.conduct(trials=1, best=1, seeds=1, concurrency=1)
    first = search.job()
    assert not conductor.told(first, Progress("out_of_memory", 4, reason="out of memory"))
    assert search.states() == ["RUNNING"]
    assert search.recorder.finished == {}
    again = search.job()
    assert again == replace(first, room=2)
    assert conductor.next_job() is Nothing.YET
    search.finish(again, 0.25)
    assert search.states() == ["COMPLETE"]
    assert [event for event, _ in search.listener.events].count("started") == 2
    confirmation = search.job()
    conductor.told(confirmation, Progress("out_of_memory", 4, reason="out of memory"))
    assert search.job() == replace(confirmation, room=2)


def test_a_blocked_job_stops_the_search_where_it_can_be_gone_on_with(search: Search) -> None:
    conductor = search.conduct(trials=3)
    blocked, other = search.job(), search.job()
    assert conductor.told(blocked, Progress("blocked", 0, reason="no space left"))
    assert conductor.blocked == "no space left"
    assert conductor.next_job() is Nothing.MORE
    assert search.states() == ["RUNNING", "RUNNING"]
    assert search.recorder.finished == {}
    search.conduct(trials=3)
    assert [search.job(), search.job()] == [blocked, other]


def test_broken_code_fails_its_trial_alone(search: Search) -> None:
    search.conduct(trials=2)
    broken, sound = search.job(), search.job()
    search.conductor.told(broken, Progress("failed", 0, reason="KeyError: 'w'"))
    search.finish(sound)
    assert search.states() == ["FAIL", "COMPLETE"]
    assert search.study.attributes(0)[REASON] == "KeyError: 'w'"
    assert search.recorder.finished["trial-000"][:2] == ("FAIL", "KeyError: 'w'")


def test_a_lost_process_fails_its_trial_unless_it_had_ended(search: Search) -> None:
    search.conduct(trials=2)
    lost, ended = search.job(), search.job()
    search.finish(ended)
    for job in (lost, ended):
        search.conductor.lost(job, "its process died")
    assert search.states() == ["FAIL", "COMPLETE"]
    assert search.study.attributes(0)[REASON] == "its process died"
    assert search.conductor.next_job() is Nothing.MORE


def test_a_process_that_died_is_told_of_and_changes_nothing(search: Search) -> None:
    search.conduct(trials=1)
    job = search.job()
    search.conductor.told(job, rung(0.5))
    search.conductor.died(job)
    assert search.listener.events[-1] == ("rung", "trial-000")
    assert search.states() == ["RUNNING"]
    search.finish(job)
    search.conductor.died(job)
    assert search.listener.events[-1] == ("COMPLETE", "trial-000")


def test_successive_halving_stops_the_worse_of_a_rung(search: Search) -> None:
    search.conduct(trials=3)
    good, bad, better = search.job(), search.job(), search.job()
    assert not search.conductor.told(good, rung(0.5))
    assert search.conductor.told(bad, rung(0.9))
    assert not search.conductor.told(better, rung(0.1))
    assert search.states() == ["RUNNING", "PRUNED", "RUNNING"]
    reason = f"pruned by successive halving at {FIRST_RUNG} episodes"
    assert search.recorder.finished["trial-001"][:2] == ("PRUNED", reason)
    assert bad.name not in search.conductor.running


def test_a_bad_end_is_an_end_all_the_same(search: Search) -> None:
    search.conduct(trials=2)
    good, bad = search.job(), search.job()
    search.finish(good, 0.1)
    search.finish(bad, 0.9)
    assert search.states() == ["COMPLETE", "COMPLETE"]


def run_trials(search: Search, values: Mapping[int, float]) -> None:
    jobs = [search.job() for _ in values]
    for job in jobs:
        search.finish(job, values[job.number])


VALUES = {0: 0.4, 1: 0.1, 2: 0.3, 3: 0.2}
CONFIRMED = [(1, 0), (3, 0), (2, 0), (1, 1), (3, 1), (2, 1)]
"""Trial and place of the seed: the best three, every first seed first."""


def remaining(search: Search, value: Callable[[Job], float] = lambda job: 0.5) -> list[Job]:
    """Run what is left, one job at a time, and return it."""
    jobs = []
    while isinstance(job := search.conductor.next_job(), Job):
        jobs.append(job)
        assert len(jobs) < 50, "the search does not end"
        search.finish(job, value(job))
    return jobs


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
        assert job.config == replace(trained, seed=job.config.seed, rungs=())
        assert job.config.seed not in {config.seed for config in trials.values()}
    assert search.recorder.started[jobs[-1].name][1] == "trial-002"  # which it repeats
    assert search.states() == ["COMPLETE"] * 4


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


def test_an_interrupted_trial_goes_on_under_its_number(search: Search) -> None:
    conductor = search.conduct(trials=4)
    search.finish(search.job())
    cut_off = [search.job(), search.job()]
    conductor.told(cut_off[0], rung(0.4))
    conductor.interrupted = True
    assert conductor.next_job() is Nothing.MORE
    assert search.states() == ["COMPLETE", "RUNNING", "RUNNING"]

    conductor = search.conduct(trials=4)
    assert [search.job(), search.job()] == cut_off
    # What it told before the interruption it tells again, and more.
    assert not conductor.told(cut_off[0], training(12, rung(0.4).history))
    search.finish(cut_off[0], 0.3)
    search.finish(cut_off[1], 0.6)
    assert [job.number for job in remaining(search)] == [3]
    assert search.states() == ["COMPLETE"] * 4
    values = search.study.intermediate_values(cut_off[0].number)
    assert values == {FIRST_RUNG: 0.4, FULL: 0.3}
    assert len(search.recorder.started) == 4


def test_a_trial_that_was_only_asked_for_starts_afresh(search: Search) -> None:
    search.study.enqueue({"inner_lr": 0.125})
    search.study.ask()
    search.conduct(trials=1)
    job = search.job()
    assert (job.number, job.config.hyper["inner_lr"]) == (0, 0.125)
    search.finish(job)
    assert search.conductor.next_job() is Nothing.MORE


def test_an_interrupted_search_still_takes_in_what_ends(search: Search) -> None:
    conductor = search.conduct(trials=3)
    job = search.job()
    conductor.interrupted = True
    search.finish(job)
    assert search.states() == ["COMPLETE"]


def test_the_time_limit_leaves_room_for_confirmation(search: Search) -> None:
    # Two runs of confirmation, of the 10 seconds that the best one took, must fit in 50 seconds.
    conductor = search.conduct(seconds=50.0, best=1, seeds=2, concurrency=1)
    search.finish(search.job(), took=10.0)
    search.finish(search.job(), took=10.0)
    late = search.job()
    search.clock.now += 9.0
    assert not conductor.told(late, training())
    search.clock.now += 1.0
    assert conductor.told(late, training())
    state, reason, _ = search.recorder.finished[late.name]
    assert (state, reason) == ("PRUNED", "time limit reached at 4 episodes")
    assert search.job().kind == "confirmation"


def test_no_trial_starts_in_the_time_that_confirmation_needs(search: Search) -> None:
    conductor = search.conduct(seconds=50.0, best=2, seeds=2, concurrency=2)
    running = [search.job(), search.job()]
    for job in running:
        search.finish(job, took=16.0)
    # 32 of 50 seconds are over, and what confirmation may keep free, at most 20, is not left.
    confirmations = remaining(search)
    assert [job.kind for job in confirmations] == ["confirmation"] * 4
    assert len(search.study.trials()) == 2
    assert conductor.next_job() is Nothing.MORE


def test_at_the_time_limit_everything_stops(search: Search) -> None:
    conductor = search.conduct(seconds=50.0, best=1, seeds=2, concurrency=1)
    search.clock.now += 14.0
    search.finish(search.job(), took=16.0)
    confirmation = search.job()
    assert confirmation.kind == "confirmation"
    search.clock.now += 19.0
    assert not conductor.told(confirmation, training())
    search.clock.now += 1.0
    assert conductor.told(confirmation, training())
    assert conductor.next_job() is Nothing.MORE
    assert search.recorder.finished[confirmation.name][0] == "PRUNED"


def test_a_confirmation_that_cannot_end_in_time_is_not_started(search: Search) -> None:
    conductor = search.conduct(seconds=50.0, best=1, seeds=2, concurrency=1)
    search.finish(search.job(), took=30.0)
    assert conductor.next_job() is Nothing.MORE


def test_without_a_limit_time_does_not_matter(search: Search) -> None:
    conductor = search.conduct(trials=2)
    job = search.job()
    search.clock.now += 1e9
    assert not conductor.told(job, training())
    assert search.job().number == 1


def test_a_resumed_search_does_not_repeat_its_random_trials(search: Search) -> None:
    search.conduct(trials=6)
    first = [search.job().config.hyper["inner_lr"] for _ in range(3)]
    search.conductor.interrupted = True
    search.conduct(trials=6)
    for _ in range(3):
        search.job()  # the interrupted ones
    then = [search.job().config.hyper["inner_lr"] for _ in range(3)]
    assert len({*first, *then}) == 6


def test_a_seed_repeats_a_search(tmp_path: Path) -> None:
    suggested = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        search = Search(tmp_path / name)
        search.conduct(trials=12)
        jobs = remaining(search, lambda job: abs(float(job.config.hyper["inner_lr"]) - 0.3))
        suggested.append([job.config.hyper["inner_lr"] for job in jobs])
    assert suggested[0] == suggested[1]


def test_the_best_are_ordered_by_the_direction_of_the_study(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'study.db'}"
    study = SearchStudy("up", url, "maximize", Halving(FIRST_RUNG, 3), 0)
    for value in (0.2, 0.9, 0.5):
        study.tell(study.ask().number, "COMPLETE", value, "")
    assert [trial.value for trial in study.best(2)] == [0.9, 0.5]
    with pytest.raises(ValueError, match="trial 3 completed with nan"):
        study.tell(study.ask().number, "COMPLETE", math.nan, "")


def test_a_database_that_cannot_be_opened_is_a_users_error(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'missing' / 'study.db'}"
    with pytest.raises(UserError, match="cannot open the Optuna database"):
        SearchStudy("test", url, "minimize", Halving(FIRST_RUNG, 3), 0)


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

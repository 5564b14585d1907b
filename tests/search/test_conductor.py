"""What the conductor hands out, when it stops, and what it makes of interruptions."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from search.conductor import Nothing
from search.errors import FailedError
from search.jobs import Job, Progress
from search.study import CONFIG, REASON
from tests.search.conducting import (
    FIRST_RUNG,
    FULL,
    Search,
    remaining,
    rung,
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


@pytest.mark.parametrize(
    ("phase", "episodes"), [("diverged", 12), ("diverged", FIRST_RUNG), ("out_of_memory", 0)]
)
def test_a_configuration_that_fails_by_its_own_doing_is_pruned_as_the_worst(
    search: Search, phase: Any, episodes: int
) -> None:
    search.conduct(trials=1)
    job = search.job()
    search.conductor.told(job, rung(0.25))
    if phase == "out_of_memory":
        search.conductor.told(job, Progress(phase, 0, reason="out of memory"))
        job = search.job()
    history = rung(0.25).history if episodes else []
    told = Progress(phase, episodes, history=history, reason="training loss is nan")
    assert not search.conductor.told(job, told)
    (trial,) = search.study.trials()
    assert trial.state.name == "PRUNED"
    assert trial.intermediate_values[FIRST_RUNG] == 0.25
    # Samplers judge a pruned trial by its last value.
    assert math.isnan(trial.intermediate_values[trial.last_step])
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


def test_a_job_that_a_node_was_unfit_for_is_handed_out_again_as_if_it_never_was(
    search: Search,
) -> None:
    conductor = search.conduct(trials=2, concurrency=1)
    first = search.job()
    events = len(search.listener.events)
    for _ in range(3):
        assert not conductor.told(first, Progress("unfit", 0, reason="other versions"))
        assert search.states() == ["RUNNING"]
        assert search.job() == first
        assert conductor.next_job() is Nothing.YET
    assert search.listener.events[events:] == 3 * [("started", first.name)]
    # None of its retries is spent.
    assert not conductor.told(first, Progress("out_of_memory", 4, reason="out of memory"))
    again = search.job()
    assert again == replace(first, room=2)
    assert not conductor.told(again, Progress("unfit", 0, reason="other versions"))
    assert search.job() == again
    search.finish(again)
    search.finish(search.job())
    assert search.states() == ["COMPLETE", "COMPLETE"]


def test_a_study_that_stays_away_stops_the_search_where_it_can_be_gone_on_with(
    search: Search, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*arguments: object) -> None:
        raise FailedError("study: postgresql://host/optuna: connection refused, for 600 s")

    conductor = search.conduct(trials=3)
    told, lost = search.job(), search.job()
    for method, happens in {
        "report": lambda: conductor.told(told, rung(0.5)),
        "tell": lambda: conductor.lost(lost, "its process died"),
        "ask": conductor.next_job,
    }.items():
        conductor.blocked, conductor.interrupted = "", False
        with monkeypatch.context() as patch:
            patch.setattr(search.study, method, away)
            assert happens() in (True, None, Nothing.MORE)
        assert "connection refused" in conductor.blocked
        assert conductor.next_job() is Nothing.MORE
    assert search.states() == ["RUNNING", "RUNNING"]
    search.conduct(trials=3)
    assert [search.job(), search.job()] == [told, lost]


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


def test_a_trial_of_another_version_of_metasweep_stops_the_search_and_is_kept(
    search: Search,
) -> None:
    search.conduct(trials=2)
    job = search.job()
    config = search.study.attributes(job.number)[CONFIG]
    search.study.annotate(job.number, CONFIG, config | {"momentum": 0.9})
    conductor = search.conduct(trials=2)
    assert conductor.next_job() is Nothing.MORE
    assert conductor.interrupted
    assert re.match(r"trial-000: .*'momentum': .*made by another version", conductor.blocked)
    assert search.states() == ["RUNNING"]
    search.study.annotate(job.number, CONFIG, config)
    search.conduct(trials=2)
    assert search.job() == job


def test_what_a_broken_trial_had_cost_is_recorded(search: Search) -> None:
    search.conduct(trials=1)
    job = search.job()
    cost = {"episodes": 12.0, "train_seconds": 3.0}
    search.conductor.told(job, replace(training(12), summaries=cost))
    search.conductor.told(job, Progress("failed", 0, reason="KeyError: 'x'"))
    assert search.recorder.finished[job.name] == ("FAIL", "KeyError: 'x'", cost)

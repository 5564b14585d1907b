"""What a conductor makes of a time limit."""

from __future__ import annotations

from pathlib import Path

import pytest

from search.conductor import Nothing
from tests.search.conducting import Search, remaining, training


@pytest.fixture
def search(tmp_path: Path) -> Search:
    return Search(tmp_path)


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

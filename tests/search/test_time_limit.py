"""What a conductor makes of a time limit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from search.conductor import Nothing
from tests.search.conducting import Search, final, remaining, training


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


def test_who_goes_on_with_a_search_knows_how_long_its_runs_take(search: Search) -> None:
    search.conduct(seconds=50.0, best=1, seeds=2, concurrency=1)
    search.finish(search.job(), took=10.0)
    search.conductor.interrupted = True

    # Of 35 seconds that are left, the two confirmations need 20, but may keep free only 14.
    conductor = search.conduct(seconds=35.0, best=1, seeds=2, concurrency=1)
    late = search.job()
    assert late.kind == "trial"
    search.clock.now += 20.0
    assert not conductor.told(late, training())
    search.clock.now += 1.0
    assert conductor.told(late, training())


def test_a_run_that_was_interrupted_is_known_to_take_as_long_as_it_trained(search: Search) -> None:
    conductor = search.conduct(seconds=50.0, best=1, seeds=1, concurrency=1)
    job = search.job()
    conductor.told(job, replace(final(0.5), summaries={"train_seconds": 10.0}))
    search.clock.now += 40.0
    assert conductor.next_job() is Nothing.MORE


def test_a_confirmation_that_no_time_is_left_for_is_ended_where_it_was_begun(
    search: Search,
) -> None:
    search.conduct(trials=1, seconds=50.0, best=1, seeds=2, concurrency=1)
    search.finish(search.job(), took=10.0)
    begun = search.job()
    Path(begun.folder).mkdir(parents=True)
    search.conductor.interrupted = True

    conductor = search.conduct(trials=1, seconds=5.0, best=1, seeds=2, concurrency=1)
    assert conductor.next_job() is Nothing.MORE
    conductor.leave()
    assert search.recorder.finished[begun.name][:2] == (
        "PRUNED",
        "time limit reached before it was gone on with",
    )
    assert len(search.recorder.started) == 2  # The other seed was never begun.
    assert search.study.notes()[f"confirmed/0/{begun.config.seed}"] == "PRUNED"

"""A search whose study's database goes away, or hangs, while trials run."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest

from search.conductor import Nothing
from search.jobs import Job
from search.study_writer import Patience
from tests.cli import wait_until
from tests.search.conducting import FIRST_RUNG, FULL, Search, final, rung, training
from tests.search.flaky import Outage

QUICK = Patience(first=0.02, longest=0.05)


@pytest.fixture
def search(tmp_path: Path) -> Search:
    return Search(tmp_path, QUICK)


def in_database(search: Search) -> list[optuna.trial.FrozenTrial]:
    """Read what another driver would read."""
    return optuna.load_study(study_name="test", storage=search.url).trials


def states(search: Search) -> list[str]:
    return [trial.state.name for trial in in_database(search)]


@contextmanager
def within(seconds: float) -> Iterator[None]:
    began = time.monotonic()
    yield
    assert time.monotonic() - began < seconds


def next_job(search: Search) -> Job:
    """Ask as a driver does, again and again."""
    found: list[Job] = []

    def asked() -> bool:
        job = search.conductor.next_job()
        if isinstance(job, Job):
            found.append(job)
        return bool(found)

    wait_until(asked, 20, "a job")
    return found[0]


def test_trials_go_on_and_end_while_it_is_away(
    search: Search, caplog: pytest.LogCaptureFixture
) -> None:
    conductor = search.conduct(trials=4)
    good, bad, best = search.job(), search.job(), search.job()
    outage = Outage(search.study)
    outage.away = True
    with caplog.at_level(logging.WARNING), within(10):
        assert not conductor.told(good, rung(0.5))
        assert conductor.told(bad, rung(0.9))
        assert not conductor.told(best, rung(0.1))
        assert not conductor.told(good, training(12, rung(0.5).history))
        assert not conductor.told(good, final(0.4))
        for _ in range(3):
            assert conductor.next_job() is Nothing.YET
        time.sleep(0.5)
        assert states(search) == ["RUNNING"] * 3
        assert search.recorder.finished == {}
        assert list(conductor.running) == [best.name]
        outage.end()
        assert next_job(search).number == 3
    assert conductor.blocked == ""
    assert states(search) == ["COMPLETE", "PRUNED", "RUNNING", "RUNNING"]
    values = [trial.intermediate_values for trial in in_database(search)]
    assert values == [{FIRST_RUNG: 0.5, FULL: 0.4}, {FIRST_RUNG: 0.9}, {FIRST_RUNG: 0.1}, {}]
    reason = f"pruned by successive halving at {FIRST_RUNG} episodes"
    assert [(name, told[:2]) for name, told in search.recorder.finished.items()] == [
        (bad.name, ("PRUNED", reason)),
        (good.name, ("COMPLETE", "")),
    ]
    away, back = [record.getMessage() for record in caplog.records]
    assert "study.db is away: connection refused\n" in away
    assert "Running trials go on" in away
    assert "study.db is back after" in back


def test_a_job_is_handed_out_once_it_is_known_to_whoever_goes_on(search: Search) -> None:
    conductor = search.conduct(trials=2)
    first = search.job()
    outage = Outage(search.study)
    outage.away = True
    with within(5):
        assert conductor.next_job() is Nothing.YET  # Chosen, but not written.
        assert conductor.next_job() is Nothing.YET
    assert list(search.recorder.started) == [first.name]
    assert len(states(search)) == 1
    outage.end()
    second = next_job(search)
    assert second.number == 1
    assert len(in_database(search)) == 2
    assert list(search.recorder.started) == [first.name, second.name]
    for job in (first, second):
        search.finish(job)
    assert conductor.next_job() is Nothing.MORE
    assert states(search) == ["COMPLETE"] * 2


def test_a_search_is_over_once_its_last_words_are_written(search: Search) -> None:
    """They are of a confirmation that no time is left for."""
    search.conduct(trials=1, seconds=50.0, best=1, seeds=1, concurrency=1)
    search.finish(search.job(), took=10.0)
    begun = search.job()
    Path(begun.folder).mkdir(parents=True)
    conductor = search.conduct(trials=1, seconds=5.0, best=1, seeds=1, concurrency=1)
    conductor.writing_seconds = 1.0
    outage = Outage(search.study)
    outage.away = True
    for _ in range(2):
        assert conductor.next_job() is Nothing.YET
    assert begun.name not in search.recorder.finished
    outage.end()
    wait_until(lambda: conductor.next_job() is Nothing.MORE, 20, "the end")
    assert search.recorder.finished[begun.name][0] == "PRUNED"
    assert search.open().notes() == {f"confirmed/0/{begun.config.seed}": "PRUNED"} | {
        f"confirmed_reason/0/{begun.config.seed}": "time limit reached before it was gone on with"
    }


def script(search: Search, before_it_is_told: Callable[[], None]) -> list[dict[str, Any]]:
    """Run a search, two trials at once; return what its database holds then."""
    for _ in range(6):
        jobs = [next_job(search), next_job(search)]
        before_it_is_told()
        for job in jobs:
            loss = abs(float(job.config.hyper["inner_lr"]) - 0.3)
            if not search.conductor.told(job, rung(loss)):
                search.conductor.told(job, final(loss))
    wait_until(lambda: search.conductor.next_job() is Nothing.MORE, 20, "the end")
    names = ("number", "state", "params", "values", "user_attrs", "system_attrs")
    names = (*names, "intermediate_values")
    return [{name: getattr(trial, name) for name in names} for trial in in_database(search)]


def test_outages_change_nothing_in_what_is_found(tmp_path: Path) -> None:
    quiet, troubled = (Search(tmp_path / name, QUICK) for name in ("quiet", "troubled"))
    quiet.conduct(trials=12)
    expected = script(quiet, lambda: None)
    troubled.conduct(trials=12)
    outage = Outage(troubled.study)

    def goes_away() -> None:
        outage.away = True
        threading.Timer(0.1, outage.end).start()

    assert script(troubled, goes_away) == expected
    assert outage.failed >= 6
    assert {trial["state"].name for trial in expected} == {"COMPLETE", "PRUNED"}


def test_a_database_that_hangs_holds_up_the_driver_for_a_moment(search: Search) -> None:
    conductor = search.conduct(trials=3)
    good, bad = search.job(), search.job()
    conductor.writing_seconds = 2.0
    outage = Outage(search.study)
    with outage.hanging():
        with within(5):
            assert not conductor.told(good, rung(0.5))
        with within(1.5):
            assert conductor.told(bad, rung(0.9))
            assert not conductor.told(good, final(0.4))
            assert conductor.next_job() is Nothing.YET
        assert search.recorder.finished == {}
    assert next_job(search).number == 2
    assert states(search) == ["COMPLETE", "PRUNED", "RUNNING"]
    assert list(search.recorder.finished) == [bad.name, good.name]


@pytest.mark.parametrize("hangs", [False, True])
def test_patience_with_it_ends_where_the_search_can_be_gone_on_with(
    tmp_path: Path, hangs: bool
) -> None:
    search = Search(tmp_path, replace(QUICK, most=2.0))
    conductor = search.conduct(trials=3)
    ended, running = next_job(search), next_job(search)
    conductor.writing_seconds = 0.1
    outage = Outage(search.study)
    outage.away = not hangs
    with outage.hanging() if hangs else nullcontext():
        with search.written_at_once():
            assert not conductor.told(ended, final(0.5))
        wait_until(lambda: conductor.next_job() is Nothing.MORE, 20, "the end of patience")
        said = "it has not answered for 2 s" if hangs else "connection refused, for 2 s"
        assert said in conductor.blocked
        assert conductor.told(running, rung(0.5))
        conductor.leave()
    assert search.recorder.finished == {}
    outage.end()
    if hangs:  # What hung has got through after all.
        wait_until(lambda: states(search)[0] == "COMPLETE", 20, "the end of the trial")
    again = Search(tmp_path)
    again.conduct(trials=3)
    if not hangs:
        assert again.job() == ended
        again.finish(ended)
    assert again.job() == running
    assert states(again) == ["COMPLETE", "RUNNING"]


def test_an_interrupted_driver_does_not_wait_for_it(search: Search) -> None:
    conductor = search.conduct(trials=1)
    job = search.job()
    outage = Outage(search.study)
    outage.away = True
    conductor.told(job, final(0.5))
    conductor.interrupted = True
    with within(2):
        assert conductor.next_job() is Nothing.MORE
        conductor.leave()
    outage.end()
    time.sleep(0.5)
    # Another driver may be at work by now.
    assert states(search) == ["RUNNING"]
    assert search.recorder.finished == {}

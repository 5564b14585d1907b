"""Trials start together: on real Ray, whose processors and GPUs are made up."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import ray
from ray.util import placement_group_table

from search import driver, ray_cluster, silence
from search.driver import drive
from search.line import FIRST
from search.node import Expected
from search.ray_alone import few_processes
from search.room import Resources
from tests.search.conducting import Search
from tests.search.waiting_actor import PATIENCE, WaitingActor

ROOT = Path(__file__).parents[2]
MANY = 8


@contextmanager
def made_up(**resources: int) -> Iterator[None]:
    """Start Ray with processors and GPUs that this machine lacks."""
    with few_processes():
        ray.init(
            address="local",
            runtime_env={"env_vars": {"PYTHONPATH": str(ROOT)}},
            include_dashboard=False,
            log_to_driver=False,
            logging_level="ERROR",
            **resources,  # type: ignore[arg-type]
        )
    try:
        yield
    finally:
        ray.shutdown()


@pytest.fixture(autouse=True)
def settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in ray_cluster.SETTINGS.items():
        monkeypatch.setenv(name, os.environ.get(name, value))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)


def run(search: Search, resources: Resources, folder: Path, **told: Any) -> None:
    folder.mkdir()
    usual = {"others": 1, "reports": 1, "started": 0, "pause": 0.05, "dies": "", "raises": ""}
    plan = json.dumps({"folder": str(folder), **usual, **told})
    expected = Expected(ray_cluster.own_node(), str(folder), "", None, "", {}, [])
    drive(search.conductor, resources, plan, expected, None, trainable=WaitingActor)


def seen(folder: Path) -> list[int]:
    """How many had begun to start when each process was done with starting."""
    return [int(file.read_text()) for file in folder.glob("*.others")]


def test_a_cluster_is_filled_at_once(tmp_path: Path) -> None:
    """No process is ready before all of them have begun to start; the later trials reuse them."""
    search = Search(tmp_path)
    search.conduct(trials=2 * MANY, concurrency=MANY)
    with made_up(num_cpus=MANY):
        run(search, Resources(1, 0), tmp_path / "told", others=MANY, reports=20)
    assert seen(tmp_path / "told") == [MANY] * MANY
    assert search.states() == ["COMPLETE"] * 2 * MANY


@pytest.mark.parametrize(
    ("elastic", "concurrency"),
    [pytest.param(True, None, id="cluster"), pytest.param(False, 3, id="one machine")],
)
def test_a_process_that_starts_is_not_given_up_for_one_that_is_free(
    elastic: bool, concurrency: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first runs one trial after the other while the others are still starting.

    It does so slowly enough that there is always one that waits for room.
    """
    monkeypatch.setattr(driver, "is_elastic", lambda: elastic)
    search = Search(tmp_path)
    search.conduct(trials=24, concurrency=concurrency)
    folder = tmp_path / "told"
    with made_up(num_cpus=3):
        run(search, Resources(1, 0), folder, others=3, started=9, pause=0.6)
    assert not (folder / "given-up").exists()
    assert len(list((folder / "begun").iterdir())) == 3
    assert len({file.read_text() for file in folder.glob("*.ran")}) == 3
    assert search.states() == ["COMPLETE"] * 24


@pytest.mark.parametrize("how", ["dies", "raises"])
def test_a_process_that_dies_of_its_next_trial_dies_once(how: str, tmp_path: Path) -> None:
    search = Search(tmp_path)
    search.conduct(trials=3)
    folder = tmp_path / "told"
    with made_up(num_cpus=1):
        run(search, Resources(1, 0), folder, **{how: "trial-1"})
    assert (folder / "died").exists()
    assert len(list((folder / "begun").iterdir())) == 2
    assert search.states() == ["COMPLETE"] * 3


@pytest.mark.parametrize(
    ("processors", "said"),
    [pytest.param(1, "is starting", id="slow start"), pytest.param(0, "no node", id="no room")],
)
def test_why_nothing_runs_is_told_once(
    processors: int, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process of the one trial waits for another, which never comes, before it is ready."""
    monkeypatch.setattr(silence, "NOTICE", 3.0)
    search = Search(tmp_path)
    search.conduct(trials=1)
    folder = tmp_path / "told"

    def watch() -> None:
        until = time.monotonic() + PATIENCE
        while not remarks(search) and time.monotonic() < until:
            time.sleep(0.1)
        time.sleep(4.0)
        (folder / "given-up").touch()
        search.conductor.interrupted = processors == 0

    watcher = Thread(target=watch)
    with made_up(num_cpus=processors):
        watcher.start()
        run(search, Resources(1, 0), folder, others=2)
    watcher.join()
    assert [said in remark for remark in remarks(search)] == [True]


def remarks(search: Search) -> list[str]:
    return [text for kind, text in search.listener.events if kind == "remarks"]


def asked_for(search: Search, folder: Path, enough: int) -> int:
    """Run a search where no trial has room; return for how many it asks, once these are enough."""
    found: list[int] = []

    def watch() -> None:
        until = time.monotonic() + PATIENCE
        while found[-2:-1] < [enough] and time.monotonic() < until:
            time.sleep(2.0)
            groups = placement_group_table().values()
            found.append(sum(group["state"] == "PENDING" for group in groups))
        search.conductor.interrupted = True

    watcher = Thread(target=watch)
    watcher.start()
    run(search, Resources(1, 0), folder)
    watcher.join()
    return found[-1]


def test_only_a_cluster_that_may_grow_is_asked_for_more_than_it_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cases = [(True, None, FIRST), (True, 5, 5), (True, 40, 40), (False, None, 1)]
    with made_up(num_cpus=0):
        for elastic, concurrency, waiting in cases:
            folder = tmp_path / f"{elastic}-{concurrency}"
            folder.mkdir()
            search = Search(folder)
            search.conduct(trials=100, concurrency=concurrency)
            monkeypatch.setattr(driver, "is_elastic", lambda elastic=elastic: elastic)
            assert asked_for(search, folder / "told", waiting) == waiting
            assert search.states() == waiting * ["RUNNING"]  # To be gone on with.


def test_the_first_trial_is_measured_before_others_ask_for_a_share_of_a_gpu(tmp_path: Path) -> None:
    """Then the others, two to a GPU, all start together."""
    search = Search(tmp_path)
    search.conduct(trials=MANY)
    folder = tmp_path / "told"
    with made_up(num_cpus=2 * MANY, num_gpus=MANY // 2):
        run(search, Resources(1, "auto"), folder, reports=20)
    wanted = [json.loads(file.read_text()) for file in folder.glob("*.wanted")]
    asked = sorted((each["GPU"], each["measured"]) for each in wanted)
    assert asked == (MANY - 1) * [(0.5, False)] + [(1.0, True)]
    assert search.states() == MANY * ["COMPLETE"]

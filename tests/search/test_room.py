from __future__ import annotations

from typing import Any

import pytest

from search.errors import UserError
from search.jobs import Job
from search.room import Resources, Room, check, how_many, trials_that_fit
from tests.search.small_runs import small_config


def job(algorithm: str = "maml", room: int = 1, number: int = 0) -> Job:
    return Job("trial", number, small_config(algorithm), "/folder", room)


PEAK = {"device_memory_mb": 80_000.0, "peak_memory_mb": 6_000.0}


@pytest.mark.parametrize(
    ("resources", "room", "wanted"),
    [
        (Resources(2, 0), 1, {"CPU": 2}),
        (Resources(2, 0.25), 1, {"CPU": 2, "GPU": 0.25}),
        (Resources(2, 0.25, 4), 1, {"CPU": 2, "GPU": 0.25}),
        (Resources(1, 0, 4), 1, {"CPU": 1, "memory": 4e9}),
        (Resources(1, 0, 4), 2, {"CPU": 1, "memory": 8e9}),
        (Resources(1, 0.25), 2, {"CPU": 1, "GPU": 0.5}),
        (Resources(1, 0.75), 2, {"CPU": 1, "GPU": 1.0}),
        (Resources(1, 2), 2, {"CPU": 1, "GPU": 2}),
    ],
)
def test_a_job_is_given_what_the_specification_says(
    resources: Resources, room: int, wanted: dict[str, float]
) -> None:
    assert Room(resources).of(job(room=room)) == wanted


def test_more_room_is_never_more_than_a_node_has() -> None:
    nodes = [8.0]
    room = Room(Resources(1, 0, 12), lambda: max(nodes))
    assert room.of(job(room=2))["memory"] == 12e9
    nodes.append(16.0)  # A cluster that grows from nothing has the head alone at first.
    assert room.of(job(room=2))["memory"] == 16e9
    nodes.append(100.0)
    assert room.of(job(room=2))["memory"] == 24e9
    assert room.of(job())["memory"] == 12e9


def test_auto_gives_a_whole_gpu_until_a_trial_of_the_kind_was_measured() -> None:
    room = Room(Resources(1, "auto"))
    assert room.of(job())["GPU"] == 1.0
    room.learn(job(), PEAK)
    # 1.25 * 6,000 MB and 700 MB for CUDA are 10.25 % of 80,000 MB.
    assert room.of(job())["GPU"] == 0.15
    assert room.of(job("anil"))["GPU"] == 1.0
    assert room.of(job(room=2))["GPU"] == 0.3


def test_auto_lets_others_of_a_kind_wait_until_the_first_was_measured() -> None:
    room = Room(Resources(1, "auto"))
    first, second, other = job(), job(number=1), job("anil", number=2)
    assert not room.is_awaited(first)
    assert room.of(first)["GPU"] == 1.0
    assert room.is_awaited(second)
    assert not room.is_awaited(first)  # It may have died, and is started again.
    assert not room.is_awaited(other)
    room.learn(first, PEAK)
    assert not room.is_awaited(second)
    assert room.of(second)["GPU"] == 0.15
    assert not room.is_awaited(job(number=3))


def test_auto_tells_the_trial_that_is_measured_to_evaluate_at_once() -> None:
    room = Room(Resources(1, "auto"))
    first, second, other = job(), job(number=1), job("anil", number=2)
    assert not room.measures(first)
    for each in (first, other):
        room.of(each)
        assert room.measures(each)
    assert not room.measures(second)
    room.learn(first, PEAK)
    assert not room.measures(first)
    room.of(second)
    assert not room.measures(second)
    fixed = Room(Resources(1, 0.5))
    fixed.of(first)
    assert not fixed.measures(first)


def test_auto_learns_from_every_report_of_a_trial() -> None:
    """Those that wait start with the first; the later ones are given what it has grown to."""
    room = Room(Resources(1, "auto"))
    room.of(job())
    room.learn(job(), PEAK)
    assert room.of(job(number=1))["GPU"] == 0.15
    room.learn(job(), PEAK | {"peak_memory_mb": 18_000.0})
    assert room.of(job(number=2))["GPU"] == 0.3


def test_auto_measures_the_next_where_the_first_told_nothing() -> None:
    room = Room(Resources(1, "auto"))
    room.of(job())
    room.learn(job(), {})
    second, third = job(number=1), job(number=2)
    assert not room.is_awaited(second)
    assert room.of(second)["GPU"] == 1.0
    assert room.is_awaited(third)
    room.learn(job(), {})  # What the first tells has nothing to do with it.
    assert room.is_awaited(third)


@pytest.mark.parametrize("resources", [Resources(1, 0), Resources(1, 0.5)])
def test_nobody_waits_where_the_specification_says_what_is_needed(resources: Resources) -> None:
    room = Room(resources)
    room.of(job())
    assert not room.is_awaited(job(number=1))


@pytest.mark.parametrize(
    ("wanted", "have", "fit"),
    [
        ({"CPU": 1.0}, {"CPU": 8.0}, 8),
        ({"CPU": 2.0, "GPU": 0.05}, {"CPU": 64.0, "GPU": 1.0}, 20),
        ({"CPU": 1.0, "GPU": 0.15}, {"CPU": 64.0, "GPU": 0.7}, 4),
        ({"CPU": 1.0, "GPU": 0.1}, {"CPU": 64.0, "GPU": 1.0 - 7 * 0.1}, 3),
        ({"CPU": 1.0, "memory": 4e9}, {"CPU": 8.0, "memory": 10e9}, 2),
        ({"CPU": 1.0, "GPU": 1.0}, {"CPU": 8.0}, 0),
    ],
)
def test_a_node_has_room_for_as_many_as_all_it_has_allows(
    wanted: dict[str, float], have: dict[str, float], fit: int
) -> None:
    assert how_many(wanted, have) == fit


def test_auto_keeps_the_largest_that_was_measured() -> None:
    room = Room(Resources(1, "auto"))
    for peak in (6_000.0, 30_000.0, 1_000.0):
        room.learn(job(), PEAK | {"peak_memory_mb": peak})
    assert room.of(job())["GPU"] == 0.5
    room.learn(job(), PEAK | {"peak_memory_mb": 79_000.0})
    assert room.of(job())["GPU"] == 1.0


def test_a_trial_without_a_gpu_teaches_nothing() -> None:
    room = Room(Resources(1, "auto"))
    room.learn(job(), {"peak_memory_mb": 900.0})
    assert room.of(job())["GPU"] == 1.0


@pytest.mark.parametrize(
    ("resources", "complaint"),
    [
        (Resources(3, 0), "resources.cpu: 3: more than there is; this machine has 2"),
        (Resources(1, 0.5), "resources.gpu: 0.5: more than there is; this machine has 0"),
        (Resources(1, 0, 32), "resources.memory_gb: 32: more than there is; this machine has 16"),
    ],
)
def test_more_than_there_is_is_refused(resources: Resources, complaint: str) -> None:
    with pytest.raises(UserError, match=complaint):
        check(resources, Resources(2, 0, 16))


@pytest.mark.parametrize(
    ("resources", "there", "fit"),
    [
        (Resources(1, 0), Resources(8, 0), 8),
        (Resources(2, 0, 4), Resources(8, 0, 10), 2),
        (Resources(1, 0.5), Resources(8, 2), 4),
        (Resources(1, "auto"), Resources(8, 2), None),
    ],
)
def test_as_many_run_at_once_as_fit(resources: Resources, there: Any, fit: int | None) -> None:
    assert trials_that_fit(resources, there) == fit

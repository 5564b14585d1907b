"""A store that is slow, broken or away takes nothing of a trial's time."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from benchmarks import tracking_away
from benchmarks.tracking_away import Pair
from tests.cli import run


@pytest.mark.faults
@pytest.mark.timeout(1800)
def test_no_trial_is_slowed_down_by_its_store() -> None:
    """Not in the trials of a search, which share the machine's processors by chance."""
    command = (sys.executable, "-m", "benchmarks.tracking")
    root = Path(__file__).parents[2]
    done = run("--away", folder=root, command=command, seconds=1700)
    assert done.code == 0, done.output
    for state in tracking_away.STATES:
        assert state in done.output


def test_a_trial_that_is_slowed_down_is_told_of() -> None:
    def pairs(*taken: float) -> list[Pair]:
        usual = (10.0, 20.0, 11.0, 10.0, 10.0)
        return [Pair(*each) for each in zip(usual, taken, strict=True)]

    measured = {
        "answers": pairs(10.6, 21.2, 11.7, 10.6, 10.6),  # Of two that are alike.
        "is away": pairs(10.4, 40.0, 11.4, 10.0, 10.0),  # Once by chance.
        "answers 500": pairs(10.6, 21.2, 11.7, 10.6, 10.6),
    }
    [line] = tracking_away.too_slow(measured)
    assert line == (
        "a trial takes 1.060 times as long while the store answers 500; at most 1.05 is right"
    )
    assert [row[0] for row in tracking_away.rows(measured)] == list(measured)
    assert tracking_away.rows(measured)[1][1:] == ["5", "10.4", "10", "1.04", "1.000 to 2.000"]


def test_there_are_rounds_until_chance_hardly_decides() -> None:
    def decided(below: int, above: int) -> bool:
        pairs = [Pair(1.0, 1.0)] * below + [Pair(1.0, 1.1)] * above
        return tracking_away.is_decided(pairs)

    assert [count for count in range(12) if decided(count, 0)] == [8, 9, 10, 11]
    assert [count for count in range(12) if decided(0, count)] == [8, 9, 10, 11]
    # Of 20 tosses 4 heads or fewer have a chance of 0.0059, 3 or fewer one of 0.0013.
    assert [decided(20 - above, above) for above in range(3, 18)] == [True, *13 * [False], True]
    assert not decided(0, 0)


def test_waiting_for_a_store_counts() -> None:
    began = tracking_away.clock()
    threading.Event().wait(0.3)
    assert tracking_away.clock() - began > 0.25


def test_waiting_for_a_processor_does_not_count() -> None:
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    others = []
    try:
        others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(3)]
        ours, wall, own = tracking_away.clock(), time.perf_counter(), time.thread_time()
        while time.thread_time() - own < 1.0:
            pass
        taken = tracking_away.clock() - ours, time.perf_counter() - wall
    finally:
        os.sched_setaffinity(0, before)
        for other in others:
            other.kill()
            other.wait()
    counted, passed = (seconds - 1.0 for seconds in taken)
    assert passed > 0.5
    assert counted < passed / 4

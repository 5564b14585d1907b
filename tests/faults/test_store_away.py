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
from tests.cli import run

ROUNDS, EPISODES = 9, 40_000
"""Enough rounds that chance brings no median over the bound where others use the machine."""


@pytest.mark.faults
@pytest.mark.timeout(1800)
def test_no_trial_is_slowed_down_by_its_store() -> None:
    """Not in the trials of a search, which share the machine's processors by chance.

    The benchmark runs one trial at a time, in turns with a control, and leaves out the time in
    which others had the processor.
    """
    command = (sys.executable, "-m", "benchmarks.tracking")
    root = Path(__file__).parents[2]
    asked = ("--away", f"--rounds={ROUNDS}", f"--episodes={EPISODES}")
    done = run(*asked, folder=root, command=command, seconds=1700)
    assert done.code == 0, done.output
    for state in tracking_away.STATES:
        assert state in done.output


def test_a_trial_that_is_slowed_down_is_told_of() -> None:
    usual = [10.0, 20.0, 11.0]
    taken = {
        "answers": usual,
        "is away": [10.4, 40.0, 11.4],  # Once by chance.
        "answers 500": [10.6, 21.2, 11.0],
    }
    [line] = tracking_away.too_slow(taken)
    assert line == (
        "a trial takes 1.060 times as long while the store answers 500; at most 1.05 is right"
    )
    assert [row[0] for row in tracking_away.rows(taken)] == list(taken)


def test_waiting_for_a_store_counts() -> None:
    answered = threading.Event()
    threading.Timer(0.3, answered.set).start()
    began = tracking_away.clock()
    answered.wait()
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

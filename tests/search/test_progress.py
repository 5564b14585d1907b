"""What a search shows of its jobs."""

from __future__ import annotations

import io
import time

from rich.console import Console

from search.jobs import Job, Progress
from search.progress import LiveDisplay
from tests.search.small_runs import small_config


def test_a_job_that_waits_keeps_its_place_and_says_once_why() -> None:
    console, config = Console(file=io.StringIO(), width=100), small_config()
    display = LiveDisplay(console, config.problem, 40, None, time.monotonic() - 100)
    job, waiting = Job("trial", 0, config, ""), Progress("train", 0, reason="waits: a disk is full")
    display.started(job)
    display._next_table = float("inf")
    display.told(job, Progress("rung", 8, 0.5, [{"episodes": 8, "value": 0.5}]))
    display.told(job, waiting)
    display._next_table = 0.0
    display.told(job, waiting)
    assert isinstance(console.file, io.StringIO)
    shown = console.file.getvalue()
    assert shown.count("waits: a disk is full") == 1
    assert "8 / 24" in shown
    assert "0 / 24" not in shown
    display.told(job, Progress("train", 9))
    display.told(job, waiting)
    assert console.file.getvalue().count("waits: a disk is full") == 2

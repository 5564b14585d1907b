"""A search seen from afar: what its driver writes into a log, and what a follower makes of it."""

from __future__ import annotations

import io
import time
from typing import Any

import pytest
from rich.console import Console

from search.follow import Follower
from search.jobs import Job, Progress
from search.progress import MARK, ROWS, SUMMARY, LiveDisplay
from tests.search.small_runs import small_config


def log_of(jobs: int, clock: float = 0.0) -> str:
    """Return what a driver writes without a terminal: all jobs run, and the first one ends."""
    console = Console(file=io.StringIO(), width=100)
    config = small_config()
    display = LiveDisplay(console, config.problem, 40, None, time.monotonic() - clock)
    named = [Job("trial", number, config, "") for number in range(jobs)]
    with display:
        for job in named:
            display.started(job)
        display.told(named[0], Progress("rung", 8, 0.5))
        display.ended(named[0], "COMPLETE", Progress("final", 24, 0.25), "")
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_driver_writes_a_table_from_time_to_time() -> None:
    lines = log_of(jobs=2, clock=100.0).splitlines()
    table = [line for line in lines if line.startswith(MARK)]
    assert [line.split()[1] for line in table] == ["running", "trial-000", "trial-001", "0"]
    assert "8 / 24" in table[1]
    assert lines[-1].startswith("1 / 40 trials (1 complete); best ")
    assert MARK not in log_of(jobs=2)


def test_hundreds_of_jobs_do_not_fill_the_log() -> None:
    table = [line for line in log_of(jobs=300, clock=100.0).splitlines() if MARK in line]
    assert len(table) == ROWS + 3
    assert f"and {300 - ROWS} more" in table[-2]


def test_log_says_how_far_the_search_is() -> None:
    counts = SUMMARY.findall(log_of(jobs=2, clock=100.0))
    metric = small_config().problem.metric
    assert counts == [("0 / 40 trials", ""), ("1 / 40 trials", f"{metric} 0.25")]


def shown(pieces: list[str], **terminal: Any) -> str:
    console = Console(file=io.StringIO(), width=60, highlight=False, **terminal)
    with Follower(console) as follower:
        for piece in pieces:
            follower.show(piece)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_follower_shows_the_log_as_it_is(size: int) -> None:
    log = log_of(jobs=3, clock=100.0) + "[bold]no markup[/bold]\nan unfinished line"
    pieces = [log[start : start + size] for start in range(0, len(log), size)]
    assert shown(pieces) == log + "\n"


def test_follower_keeps_control_characters_from_the_terminal() -> None:
    assert shown(["\x1b[2J\x1b]0;title\x07gone\r\n"]) == "\\x1b[2J\\x1b]0;title\\x07gone\\r\n"


def test_table_stays_in_place_on_a_terminal() -> None:
    terminal = Console(file=io.StringIO(), width=60, force_terminal=True)
    page = Console(file=io.StringIO(), width=60)
    with Follower(terminal) as follower:
        follower.show(f"one\n{MARK}running\n{MARK}trial-000\ntwo\n{MARK}running\n{MARK}trial-007\n")
        page.print(follower.table())
    assert isinstance(page.file, io.StringIO)
    assert page.file.getvalue() == "\nrunning\ntrial-007\n"
    assert isinstance(terminal.file, io.StringIO)
    written = terminal.file.getvalue()
    assert written.index("one") < written.index("two")
    assert MARK not in written

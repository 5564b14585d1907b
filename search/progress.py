"""The live display of a running search."""

from __future__ import annotations

import math
import re
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from search.config import Problem
from search.jobs import Job, Progress
from search.study import State

LINES = 8
ROWS = 12
"""Of what runs: a cluster may run hundreds."""

MARK = "| "
"""Before each line of the table where there is no terminal, so that whoever reads the log knows it.
"""

SUMMARY = re.compile(r"^(?:\| )?(\d+(?: / \d+)? trials)(?:.*; best (\S+ \S+) by )?", re.MULTILINE)
"""What a log says from time to time: how many trials have ended, and the best value."""

FIRST_TABLE, NEXT_TABLE = 5.0, 30.0
"""Seconds, where there is no terminal."""

HALVED = "pruned by successive halving"
"""Ordinary enough to go without saying."""
COLORS = {"COMPLETE": "green", "PRUNED": "yellow", "FAIL": "red"}


class LiveDisplay:
    """Shows what runs, what ended and what is best.

    Without a terminal: a line per ended job, and all of it from time to time.
    """

    def __init__(
        self,
        console: Console,
        problem: Problem,
        trials: int | None,
        seconds: float | None,
        began: float,
    ):
        self._console = console
        self._problem = problem
        self._trials = trials
        self._seconds = seconds
        self._began = began
        self._running: dict[str, tuple[Job, Progress | None]] = {}
        self._counts: Counter[str] = Counter()
        self._confirmed = 0
        self._recent: list[Text] = []
        self._best: tuple[float, Job] | None = None
        self._next_table = began + FIRST_TABLE
        # `began` is a time.monotonic() of before the display, so that start-up is seen to count.
        self._live = Live(console=console, get_renderable=self._render, refresh_per_second=4)

    def __enter__(self) -> LiveDisplay:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._console.is_terminal:
            self._live.stop()
        else:
            self._console.print(self._summary(), soft_wrap=True)

    def resumed(self, ended: Mapping[str, int], best: tuple[float, Job] | None) -> None:
        """Count the trials, by state, that ended before this driver began, and show their best."""
        self._counts.update(ended)
        self._best = best

    def started(self, job: Job) -> None:
        """Show a job as running."""
        self._running[job.name] = (job, None)

    def told(self, job: Job, progress: Progress) -> None:
        """Show how far a job is, and once what it waits for."""
        _, before = self._running.get(job.name, (job, None))
        shown = progress
        if progress.reason and not progress.ended:
            if not before or not before.reason:
                self._say(Text(f"{self._elapsed():6.0f}s  {job.name:<26}{progress.reason}"))
            # Who waits tells no more than that.
            shown = replace(before or progress, reason=progress.reason)
        self._running[job.name] = (job, shown)
        self._print_table()

    def ended(self, job: Job, state: State, progress: Progress, reason: str) -> None:
        """Show what a job ended as."""
        self._running.pop(job.name, None)
        if job.kind == "confirmation":
            self._confirmed += 1
        else:
            self._counts[state] += 1
            if state == "COMPLETE" and self._better(progress.value):
                self._best = (progress.value, job)
        self._say(self._line(job, state, progress, reason))
        self._print_table()

    def remarks(self, text: str) -> None:
        """Show what concerns no job alone."""
        self._say(Text(f"{self._elapsed():6.0f}s  {text}"))

    def _say(self, line: Text) -> None:
        self._recent = [*self._recent, line][-LINES:]
        if not self._console.is_terminal:
            self._console.print(line, soft_wrap=True)

    def _print_table(self) -> None:
        """Print what runs and a summary, where there is no terminal and it is time to."""
        now = time.monotonic()
        if self._console.is_terminal or now < self._next_table:
            return
        self._next_table = now + NEXT_TABLE
        with self._console.capture() as captured:
            self._console.print(self._table(), self._summary(), soft_wrap=True)
        for line in captured.get().splitlines():
            self._console.print(Text(f"{MARK}{line.strip()}"), soft_wrap=True)

    def _elapsed(self) -> float:
        return time.monotonic() - self._began

    def _better(self, value: float) -> bool:
        if self._best is None:
            return True
        better = value > self._best[0]
        return better if self._problem.direction == "maximize" else value < self._best[0]

    def _line(self, job: Job, state: State, progress: Progress, reason: str) -> Text:
        shown = "" if math.isnan(progress.value) else f"{progress.value:.4g}"
        line = Text(f"{self._elapsed():6.0f}s  ", no_wrap=True, overflow="ellipsis")
        line.append(f"{job.name:<26}", style="dim" if state != "COMPLETE" else "")
        line.append(f"{job.config.algorithm:<9} {job.config.network:<5} ")
        line.append(f"{state:<9}", style=COLORS[state])
        line.append(f"{shown:>9} at {progress.episodes:>6} episodes")
        if reason and not reason.startswith(HALVED):
            line.append(f"  {reason}", style="dim")
        return line

    def _render(self) -> RenderableType:
        return Group(*self._recent, Text(), self._table(), Text(), self._summary(), self._bar())

    def _table(self) -> Table:
        table = Table(box=None, padding=(0, 2), header_style="dim")
        for column in ("running", "algorithm", "network", "episodes", self._problem.metric):
            table.add_column(column)
        running = list(self._running.values())
        for job, progress in running[:ROWS]:
            seen = progress.episodes if progress else 0
            last = progress.history[-1]["value"] if progress and progress.history else math.nan
            table.add_row(
                job.name,
                job.config.algorithm,
                job.config.network,
                f"{seen:,} / {job.config.episodes:,}",
                "" if math.isnan(last) else f"{last:.4g}",
            )
        if len(running) > ROWS:
            table.add_row(f"and {len(running) - ROWS} more")
        return table

    def _summary(self) -> Text:
        done = sum(self._counts.values())
        asked = f" / {self._trials}" if self._trials else ""
        states = ", ".join(f"{count} {state.lower()}" for state, count in self._counts.items())
        line = Text(f"{done}{asked} trials" + (f" ({states})" if states else ""))
        if self._confirmed:
            line.append(f", {self._confirmed} confirmation runs")
        if self._best:
            value, job = self._best
            line.append(f"; best {self._problem.metric} {value:.4g}", style="bold")
            line.append(f" by {job.config.algorithm} ({job.name})")
        return line

    def _bar(self) -> ProgressBar:
        elapsed = self._elapsed()
        shares = [sum(self._counts.values()) / self._trials] if self._trials else []
        shares += [elapsed / self._seconds] if self._seconds else []
        return ProgressBar(total=1.0, completed=min(max(shares, default=0.0), 1.0), width=60)

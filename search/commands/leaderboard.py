"""`metasweep leaderboard`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import StrEnum
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from search.commands.options import TrackingUri
from search.garbage import collector_paused
from search.output_file import write_output

if TYPE_CHECKING:
    import pandas as pd

    from search.leaderboard import Standing

WIDTH_OF_FILES = 120


class Format(StrEnum):
    """How to print a leaderboard."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"
    MARKDOWN = "markdown"


def leaderboard(
    name: Annotated[str, typer.Argument(help="A search, or a problem: all its searches together.")],
    top: Annotated[
        int | None,
        typer.Option(min=1, help="Show the best so many, and what they are compared with."),
    ] = None,
    failed: Annotated[
        bool, typer.Option("--failed", help="Show the trials that failed instead, and why.")
    ] = False,
    format_: Annotated[Format, typer.Option("--format", help="What to print.")] = Format.TABLE,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write to a file instead.")
    ] = None,
    tracking_uri: TrackingUri = None,
) -> None:
    """Rank finished trials of one problem by meta-validation, with meta-test beside it.

    JSON always holds both, the ranked trials and the failed ones.
    """
    with collector_paused(for_good=True):
        _show(name, top, failed, format_, output, tracking_uri)


def _show(
    name: str,
    top: int | None,
    failed: bool,
    format_: Format,
    output: Path | None,
    tracking_uri: str | None,
) -> None:
    found, gain = _standing(name, tracking_uri, top, ranking_needed=not failed)
    if format_ is not Format.TABLE:
        text = _as_text(found, format_, failed)
    elif output is None:
        _print(found, gain, name, failed, Console())
        return
    else:
        console = Console(width=WIDTH_OF_FILES, file=StringIO())
        with console.capture() as captured:
            _print(found, gain, name, failed, console)
        text = captured.get()
    if output is None:
        typer.echo(text, nl=False)
    else:
        write_output(output, text)


def print_board(name: str, tracking_uri: str | None, top: int | None, console: Console) -> None:
    """Print the leaderboard of a search or a problem as a table."""
    found, gain = _standing(name, tracking_uri, top)
    _print(found, gain, name, failed=False, console=console)


def _standing(
    name: str, tracking_uri: str | None, top: int | None, *, ranking_needed: bool = True
) -> tuple[Standing, Callable[[], str]]:
    """Return how the trials stand, and what says how far the best is from others."""
    from search.comparison import gain, over_seeds
    from search.leaderboard import split_name, standing
    from search.tracking_reader import Reader

    reader = Reader(tracking_uri)
    frame = reader.trials(split_name(name)[0])
    known: dict[tuple[str, str], pd.Series[float]] = {}

    def read(runs: Sequence[str], metric: str) -> list[pd.Series[float]]:
        """Return what the reader does, which is asked for each run once."""
        new = [run for run in runs if (run, metric) not in known]
        for run, values in zip(new, reader.test_values_of(new, metric), strict=True):
            known[run, metric] = values
        return [known[run, metric] for run in runs]

    found = standing(frame, name, read, top, ranking_needed=ranking_needed)

    return found, lambda: gain(found.ranked, name, over_seeds(frame, read))


def _print(
    found: Standing, gain: Callable[[], str], name: str, failed: bool, console: Console
) -> None:
    from search.failures_format import print_failures, summary
    from search.leaderboard_format import print_table

    if failed:
        print_failures(found.failed, console)
        return
    print_table(found.ranked, console, found.baselines)
    for beside in (gain(), summary(found.failed, found.stopped, name)):
        if beside:
            console.print(f"\n{beside}", markup=False, highlight=False, soft_wrap=True)


def _as_text(found: Standing, format_: Format, failed: bool) -> str:
    from search import failures_format, leaderboard_format

    if format_ is Format.JSON:
        return leaderboard_format.to_json(found.ranked, found.failed, found.baselines)
    if format_ is Format.CSV:
        if failed:
            return failures_format.to_csv(found.failed)
        return leaderboard_format.to_csv(found.ranked)
    if failed:
        return failures_format.to_markdown(found.failed)
    return leaderboard_format.to_markdown(found.ranked, found.baselines)

"""`metasweep leaderboard`."""

from __future__ import annotations

from enum import StrEnum
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from search.commands.options import TrackingUri

if TYPE_CHECKING:
    import pandas as pd


class Format(StrEnum):
    """How to print a leaderboard."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"
    MARKDOWN = "markdown"


def leaderboard(
    name: Annotated[str, typer.Argument(help="A search, or a problem: all its searches together.")],
    top: Annotated[int | None, typer.Option(min=1, help="Show no more than so many.")] = None,
    format_: Annotated[Format, typer.Option("--format", help="What to print.")] = Format.TABLE,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write to a file instead.")
    ] = None,
    tracking_uri: TrackingUri = None,
) -> None:
    """Rank finished trials of one problem by meta-validation, with meta-test beside it."""
    from search.leaderboard_format import FORMATS, print_table
    from search.results import board_of
    from search.tracking_reader import Reader

    board = board_of(Reader(tracking_uri), name, top)
    if output is None and format_ is Format.TABLE:
        print_table(board, Console())
        return
    text = _as_text(board) if format_ is Format.TABLE else FORMATS[format_.value](board)
    if output is None:
        typer.echo(text, nl=False)
    else:
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(text)


def print_board(name: str, tracking_uri: str | None, top: int | None, console: Console) -> None:
    """Print the leaderboard of a search or a problem as a table."""
    from search.leaderboard_format import print_table
    from search.results import board_of
    from search.tracking_reader import Reader

    print_table(board_of(Reader(tracking_uri), name, top), console)


def _as_text(board: pd.DataFrame) -> str:
    """Return the table as it looks in a terminal of 120 columns."""
    from search.leaderboard_format import print_table

    console = Console(width=120, file=StringIO())
    with console.capture() as captured:
        print_table(board, console)
    return captured.get()

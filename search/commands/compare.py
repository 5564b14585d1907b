"""`metasweep compare`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from search.commands.options import TrackingUri
from search.garbage import collector_paused

if TYPE_CHECKING:
    import pandas as pd

    from search.comparison import Difference

NOTE = (
    "Difference: first minus second, on each meta-test episode, which is the same for both; 95 % "
    "interval over the draw of episodes from these classes; it covers neither seeds nor new "
    "classes. Better: episodes on which the first is. * means over fresh seeds (confirmed)."
)


def compare(
    name: Annotated[str, typer.Argument(help="A search, or a problem.")],
    first: Annotated[
        str, typer.Argument(help="A trial: rank, run id, or algorithm, whose best is meant.")
    ],
    second: Annotated[
        str, typer.Argument(help="Another; 'published' is the best published default.")
    ],
    tracking_uri: TrackingUri = None,
) -> None:
    """Compare two finished trials, episode by episode, with a 95 % interval."""
    with collector_paused(for_good=True):
        from search.comparison import COUNTS, chosen, compared, over_seeds
        from search.leaderboard import split_name, standing
        from search.tracking_reader import Reader

    reader = Reader(tracking_uri)
    frame = reader.trials(split_name(name)[0])
    board = standing(frame, name).ranked
    rows = [chosen(board, trial) for trial in (first, second)]
    one, other = (str(row["run_id"]) for row in rows)
    theirs = set(reader.test_metrics(other)) - set(COUNTS)
    metrics = [metric for metric in reader.test_metrics(one) if metric in theirs]
    # What trials are ranked by stands first.
    metrics.sort(key=lambda metric: metric != rows[0]["metric"])
    values = over_seeds(frame, reader.test_values_of)
    found = compared(one, other, metrics or [rows[0]["metric"]], values)
    console = Console(highlight=False)
    console.print(_table(rows, found))
    for each in found:
        for row, lacks in zip(rows, (each.only_other, each.only_one), strict=True):
            if lacks:
                console.print(
                    f"{each.metric}: left out are {lacks} episodes on which trial {row['rank']} "
                    f"({row['algorithm']}) has no finite number; it is worse than it looks",
                    style="yellow",
                    markup=False,
                    soft_wrap=True,
                )
    console.print(NOTE, style="dim")


def _table(rows: list[pd.Series], found: list[Difference]) -> Table:
    from search.comparison import IN_PERCENT

    table = Table(box=box.SIMPLE_HEAD, padding=(0, 0), title="meta-test, episode by episode")
    table.add_column("metric", no_wrap=True)
    # A rank and an algorithm may be cut, in a narrow terminal; numbers are not.
    for row in rows:
        star = "*" if row["confirmed"] else ""
        name = Text(f"{row['rank']} {row['algorithm']}{star}")
        table.add_column(name, justify="right", no_wrap=True)
    for heading in ("difference", "95 % interval", "better"):
        table.add_column(heading, justify="right", no_wrap=True, min_width=len(heading))
    for each in found:
        scale = 100.0 if each.metric in IN_PERCENT else 1.0
        means = (each.one, each.other, each.difference.mean)
        low, high = each.difference.ci95_low, each.difference.ci95_high
        table.add_row(
            each.metric + ", %" * (scale != 1),
            *(f"{scale * mean:.4g}" for mean in means),
            f"{scale * low:.3g} to {scale * high:.3g}",
            f"{each.better}/{each.difference.n}",
        )
    return table

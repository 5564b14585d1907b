"""Failed trials as tables for the terminal, CSV or Markdown; their reasons counted first."""

from __future__ import annotations

import pandas as pd
from rich import box
from rich.console import Console
from rich.table import Table

from search import table_text
from search.failures import by_reason

HEADINGS = ("trial", "algorithm", "network", "state", "reason")
COUNT_HEADINGS = ("count", "state", "reason")
UNTOLD = "no reason was recorded"
NONE = "No trial has failed."


def print_failures(failures: pd.DataFrame, console: Console) -> None:
    """Print how often which reason was given, and every trial with its own."""
    if failures.empty:
        console.print(NONE)
        return
    console.print(_table("Failed trials by reason", COUNT_HEADINGS, _counts(failures)))
    console.print(_table("Failed trials", HEADINGS, _cells(failures)))


def to_csv(failures: pd.DataFrame) -> str:
    """Return CSV with all columns, a row a trial."""
    return failures.map(table_text.csv).to_csv(index=False)


def to_markdown(failures: pd.DataFrame) -> str:
    """Return two Markdown tables: reasons with their counts, and every trial."""
    if failures.empty:
        return f"{NONE}\n"
    parts = []
    for headings, rows in ((COUNT_HEADINGS, _counts(failures)), (HEADINGS, _cells(failures))):
        escaped = [[table_text.markdown(cell) for cell in row] for row in rows]
        lines = [headings, ["---"] * len(headings), *escaped]
        parts.append("\n".join("| " + " | ".join(line) + " |" for line in lines))
    return "\n\n".join(parts) + "\n"


def summary(failures: pd.DataFrame, stopped: int, name: str) -> str:
    """Say in one line what is not ranked, and how to see it; empty where there is nothing."""
    pruned = int((failures["state"] == "PRUNED").sum())
    counts = {
        "failed": len(failures) - pruned,
        "pruned because they diverged or ran out of memory": pruned,
        "stopped early by the search": stopped,
    }
    told = ", ".join(f"{count} {what}" for what, count in counts.items() if count)
    if not told:
        return ""
    see = f"; see why: metasweep leaderboard {name} --failed" if len(failures) else ""
    return f"Not ranked: {told}{see}"


def _counts(failures: pd.DataFrame) -> list[list[str]]:
    columns = (by_reason(failures)[name] for name in COUNT_HEADINGS)
    return [
        [str(count), state, reason or UNTOLD] for count, state, reason in zip(*columns, strict=True)
    ]


def _cells(failures: pd.DataFrame) -> list[list[str]]:
    return [
        [
            _name(row["kind"], row["number"], row["seed"]),
            row["algorithm"],
            row["network"],
            row["state"],
            row["reason"] or UNTOLD,
        ]
        for row in failures.to_dict("records")
    ]


def _name(kind: str, number: int, seed: int) -> str:
    return str(number) if kind == "trial" else f"{number} ({kind}, seed {seed})"


def _table(title: str, headings: tuple[str, ...], rows: list[list[str]]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), title=title)
    for heading in headings:
        whole = heading in ("reason", "algorithm", "network")
        table.add_column(
            heading,
            justify="right" if heading == "count" else "left",
            overflow="fold" if whole else "ellipsis",
        )
    for row in rows:
        table.add_row(*map(table_text.terminal, row))
    return table

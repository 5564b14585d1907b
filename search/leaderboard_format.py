"""A leaderboard as a table for the terminal, CSV, JSON or Markdown."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Collection, Mapping
from typing import Any

import pandas as pd
from rich import box
from rich.console import Console
from rich.table import Table

FOOTNOTE = (
    "Ranked by the mean over the same fixed meta-validation episodes. ± is half of a 95 % interval "
    "over the draw of episodes from these classes; it covers neither seeds nor new classes. "
    "Meta-test is never sorted by; * means over fresh seeds (confirmed)."
)
SHOWN_PARAMETERS = ("inner_lr", "outer_lr")
SPARED_IN_NARROW = ("outer_lr", "inner_lr", "episodes", "network")
HEADINGS = (
    "rank",
    "algorithm",
    "network",
    "steps",
    "validation",
    "test",
    *SHOWN_PARAMETERS,
    "episodes",
    "seconds",
)

LARGE = 1e6
"""Half-widths from here on are not written out: what almost diverged would fill the screen."""


def print_table(board: pd.DataFrame, console: Console) -> None:
    """Print a table; in a narrow terminal without the columns that can best be spared."""
    unlimited = console.options.update(max_width=1000)
    for spared in range(len(SPARED_IN_NARROW) + 1):
        table = to_table(board, SPARED_IN_NARROW[:spared])
        if console.measure(table, options=unlimited).maximum <= console.width:
            break
    console.print(table)
    console.print(FOOTNOTE, style="dim", highlight=False)


def to_table(board: pd.DataFrame, without: Collection[str] = ()) -> Table:
    """Return a table for rich, without the columns of these headings."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 0), title=_title(board))
    shown = [i for i, heading in enumerate(HEADINGS) if heading not in without]
    for i in shown:
        left = HEADINGS[i] in ("algorithm", "network")
        table.add_column(HEADINGS[i], justify="left" if left else "right", no_wrap=True)
    for row in _cells(board):
        table.add_row(*(row[i] for i in shown))
    return table


def to_csv(board: pd.DataFrame) -> str:
    """Return CSV with all columns; `parameters` is JSON in a cell."""
    return board.assign(parameters=board["parameters"].map(json.dumps)).to_csv(index=False)


def to_json(board: pd.DataFrame) -> str:
    """Return a list of objects, best first; a number that is not finite is null."""
    rows = [{key: _plain(value) for key, value in row.items()} for row in board.to_dict("records")]
    return json.dumps(rows, indent=2, allow_nan=False) + "\n"


def to_markdown(board: pd.DataFrame) -> str:
    """Return a Markdown table with the terminal's columns."""
    lines = [HEADINGS, ["---"] * len(HEADINGS), *_cells(board)]
    table = "\n".join("| " + " | ".join(cells) + " |" for cells in lines)
    return f"{_title(board)}\n\n{table}\n\n{FOOTNOTE}\n"


FORMATS: dict[str, Callable[[pd.DataFrame], str]] = {
    "csv": to_csv,
    "json": to_json,
    "markdown": to_markdown,
}
"""The formats that are plain text."""


def _title(board: pd.DataFrame) -> str:
    metric = board["metric"].iloc[0]
    return (
        f"{metric} in percent, higher is better"
        if _percent(board)
        else (f"{metric}, lower is better")
    )


def _percent(board: pd.DataFrame) -> bool:
    return bool(board["metric"].iloc[0] == "query_accuracy")


def _cells(board: pd.DataFrame) -> list[list[str]]:
    scale = 100.0 if _percent(board) else 1.0
    return [
        [
            str(row["rank"]),
            row["algorithm"],
            row["network"],
            str(row["inner_steps"]),
            _with_half(row, "validation", scale),
            _with_half(row, "test", scale) + ("*" if row["confirmed"] else " "),
            *(_parameter(row["parameters"], name) for name in SHOWN_PARAMETERS),
            str(row["episodes"]),
            f"{row['train_seconds']:.1f}",
        ]
        for row in board.to_dict("records")
    ]


def _with_half(row: Mapping[Any, Any], name: str, scale: float) -> str:
    """Return mean ± half-width, to the digits that the half-width leaves meaningful."""
    mean = scale * row[f"{name}_mean"]
    half = scale * (row[f"{name}_ci95_high"] - row[f"{name}_ci95_low"]) / 2
    if not math.isfinite(half) or half <= 0:
        return f"{mean:.4g}" if math.isfinite(mean) else "-"
    if half >= LARGE:
        return f"{mean:.3g} ± {half:.2g}"
    decimals = min(max(1 - math.floor(math.log10(half)), 0), 6)
    return f"{mean:.{decimals}f} ± {half:.{decimals}f}"


def _parameter(parameters: Mapping[str, Any], name: str) -> str:
    values = [value for key, value in parameters.items() if key.endswith(f"/{name}")]
    return f"{values[0]:.3g}" if values else "-"


def _plain(value: Any) -> Any:
    """Return a JSON value; numpy's scalars become Python's."""
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if hasattr(value, "item"):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value

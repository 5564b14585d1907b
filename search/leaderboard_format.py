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

from spaces.composed import described

COMPOSED = "composed"

FOOTNOTE = (
    "Ranked by the mean over the same fixed meta-validation episodes. ± is half of a 95 % interval "
    "over the draw of episodes from these classes; it covers neither seeds nor new classes. "
    "Meta-test is never sorted by; * means over fresh seeds (confirmed). Cost: seconds of training "
    "for 1,000 episodes, peak memory, milliseconds to adapt to an episode and judge it."
)
SHOWN_PARAMETERS = ("inner_lr", "outer_lr")
SPARED_IN_NARROW = ("outer_lr", "inner_lr", "ms/adapt", "MB", "episodes", "s/1000", "network")
HEADINGS = (
    "rank",
    "algorithm",
    "network",
    "steps",
    "validation",
    "test",
    *SHOWN_PARAMETERS,
    "episodes",
    "s/1000",
    "MB",
    "ms/adapt",
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
    parts = _parts(board)
    if any(parts):
        console.print("What the composed ones are made of, where not as MAML:", highlight=False)
        for rank, part in zip(board["rank"], parts, strict=True):
            if part:
                console.print(f" {rank:>4} {part}", highlight=False, soft_wrap=True)
        console.print()
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
    cells, parts, headings = _cells(board), _parts(board), list(HEADINGS)
    if any(parts):
        headings.append("parts, where not as maml")
        cells = [[*row, part] for row, part in zip(cells, parts, strict=True)]
    lines = [headings, ["---"] * len(headings), *cells]
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
            _short(row["seconds_per_1000"]),
            f"{row['peak_memory_mb']:.0f}",
            _short(row["adaptation_ms"]),
        ]
        for row in board.to_dict("records")
    ]


def _parts(board: pd.DataFrame) -> list[str]:
    """Return what the composed configurations of a board are made of; empty for the others."""
    return [
        described({key.rpartition("/")[2]: value for key, value in row["parameters"].items()})
        if row["algorithm"] == COMPOSED
        else ""
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


def _short(value: float) -> str:
    """Return two meaningful digits, or whole numbers above a hundred."""
    return f"{value:.0f}" if value >= 100 else f"{value:.2g}"


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

"""A leaderboard as a table for the terminal, CSV, JSON or Markdown."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import pandas as pd
from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from search import table_text
from spaces.composed import described

if TYPE_CHECKING:
    from search.leaderboard import Baseline

COMPOSED = "composed"
JSON_FORMAT = "metasweep-leaderboard-2"

FOOTNOTE = (
    "Ranked by the mean over the same fixed meta-validation episodes. ± is half of a 95 % interval "
    "over the draw of episodes from these classes; it covers neither seeds nor new classes. "
    "Meta-test is never sorted by; * means over fresh seeds (confirmed). Cost: seconds of training "
    "for 1,000 episodes, peak memory, milliseconds to adapt to an episode and judge it."
)
FAILED_SEEDS = (
    " † with some of its fresh seeds it failed, and these are in no mean (see why with --failed); "
    "where no * stands before it, with all that have ended, and the number is the trial's own."
)
NO_BETTER = " ‡ over its fresh seeds no better than {baseline}: it does not hold up."
PUBLISHED = " ° an algorithm's published default, moved only as far as the search's space demands."
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

MOST_DECIMALS = 6
LARGE = 1e6
"""Half-widths from here on are not written out: what almost diverged would fill the screen."""


def print_table(board: pd.DataFrame, console: Console, baselines: Sequence[Baseline] = ()) -> None:
    """Print a table; in a narrow terminal without the columns that can best be spared.

    baselines: stand below the ranked trials.
    """
    table, spared = _table(board, console, baselines)
    console.print(table)
    parts = _parts(board)
    if any(parts):
        console.print("What the composed ones are made of, where not as MAML:", highlight=False)
        for rank, part in zip(board["rank"], parts, strict=True):
            if part:
                console.print(f" {rank:>4} {part}", highlight=False, markup=False, soft_wrap=True)
        console.print()
    console.print(_footnote(board, baselines), style="dim", highlight=False)
    if spared:
        left_out = f"Left out for want of width: {', '.join(spared)}; --format csv has them all."
        console.print(left_out, style="dim", highlight=False)


def _table(
    board: pd.DataFrame, console: Console, baselines: Sequence[Baseline]
) -> tuple[Table, Sequence[str]]:
    """Return a table for rich, and the columns that there is no room for."""
    rows = _cells(board, baselines) + _baseline_cells(board, baselines)
    columns = dict(zip(HEADINGS, zip(*rows, strict=True), strict=True))
    widths = {name: max(map(cell_len, (name, *cells))) for name, cells in columns.items()}
    spared = 0
    while _width(widths) > console.width and spared < len(SPARED_IN_NARROW):
        del widths[SPARED_IN_NARROW[spared]]
        spared += 1
    lines = [" ".join(_padded(name, name, width) for name, width in widths.items())]
    for cells in zip(*(columns[name] for name in widths), strict=True):
        padded = zip(widths, cells, widths.values(), strict=True)
        lines.append(" ".join(_padded(*cell) for cell in padded))
    # Of one column, since rich takes half a second to lay out ten thousand cells.
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 0), title=_title(board))
    # As Text: in a string, rich would take "[bold]" for markup.
    table.add_column(Text(lines[0]), no_wrap=True, width=_width(widths) - 2)
    for line in lines[1:]:
        table.add_row(Text(line))
    return table, SPARED_IN_NARROW[:spared]


def _padded(column: str, cell: str, width: int) -> str:
    left = column in ("algorithm", "network")
    blanks = " " * (width - cell_len(cell))
    return cell + blanks if left else blanks + cell


def _width(widths: Mapping[str, int]) -> int:
    """Return the width of a table: a blank between two columns and at both sides."""
    return sum(widths.values()) + len(widths) + 1


def to_csv(board: pd.DataFrame) -> str:
    """Return CSV with all columns; `parameters` is JSON in a cell."""
    text = board.assign(parameters=board["parameters"].map(json.dumps))
    return text.map(table_text.csv).to_csv(index=False)


def to_json(board: pd.DataFrame, failures: pd.DataFrame, baselines: Sequence[Baseline] = ()) -> str:
    """Return an object with the lists `ranked`, best first, and `failed`, by number of the trial.

    Their entries are objects with all columns; a number that is not finite is null. Up to the first
    version the document was the list that is `ranked` now. `baseline` is the strongest of what does
    not learn, an object, or null; `weaker_baselines` is a list of the others.
    """
    content = {
        "format": JSON_FORMAT,
        "baseline": asdict(baselines[0]) if baselines else None,
        "weaker_baselines": [asdict(baseline) for baseline in baselines[1:]],
        "ranked": _rows(board),
        "failed": _rows(failures),
    }
    return json.dumps(content, indent=2, allow_nan=False) + "\n"


def to_markdown(board: pd.DataFrame, baselines: Sequence[Baseline] = ()) -> str:
    """Return a Markdown table with the terminal's columns."""
    rows = _cells(board, baselines) + _baseline_cells(board, baselines)
    cells = [[row[0], *map(table_text.markdown, row[1:3]), *row[3:]] for row in rows]
    parts, headings = [table_text.markdown(part) for part in _parts(board)], list(HEADINGS)
    if any(parts):
        headings.append("parts, where not as maml")
        parts += [""] * (len(cells) - len(parts))
        cells = [[*row, part] for row, part in zip(cells, parts, strict=True)]
    lines = [headings, ["---"] * len(headings), *cells]
    table = "\n".join("| " + " | ".join(cells) + " |" for cells in lines)
    return f"{_title(board)}\n\n{table}\n\n{_footnote(board, baselines)}\n"


def _footnote(board: pd.DataFrame, baselines: Sequence[Baseline]) -> str:
    name = table_text.one_line(baselines[0].name) if baselines else ""
    told = (
        (FAILED_SEEDS, board["failed_seeds"].any()),
        (NO_BETTER.format(baseline=name), any(_no_better(board, baselines))),
        (PUBLISHED, board["published"].any()),
    )
    return FOOTNOTE + "".join(text for text, marked in told if marked)


def _no_better(board: pd.DataFrame, baselines: Sequence[Baseline]) -> list[bool]:
    """Return which trials were repeated with fresh seeds and are no better than no learning."""
    if not baselines:
        return [False] * len(board)
    sign = 1.0 if _percent(board) else -1.0
    gains = sign * (board["test_mean"] - baselines[0].test_mean)
    return list(board["confirmed"].astype(bool) & ~(gains > 0))


def _title(board: pd.DataFrame) -> str:
    metric = board["metric"].iloc[0]
    return (
        f"{metric} in percent, higher is better"
        if _percent(board)
        else (f"{metric}, lower is better")
    )


def _percent(board: pd.DataFrame) -> bool:
    return bool(board["metric"].iloc[0] != "query_loss")


def _cells(board: pd.DataFrame, baselines: Sequence[Baseline]) -> list[list[str]]:
    scale = 100.0 if _percent(board) else 1.0
    return [
        [
            str(row["rank"]),
            table_text.one_line(row["algorithm"]) + ("°" if row["published"] else ""),
            table_text.one_line(row["network"]),
            str(row["inner_steps"]),
            _with_half(row, "validation", scale),
            _with_half(row, "test", scale) + mark,
            *(_parameter(row["parameters"], name) for name in SHOWN_PARAMETERS),
            str(row["episodes"]),
            _short(row["seconds_per_1000"]),
            f"{row['peak_memory_mb']:.0f}",
            _short(row["adaptation_ms"]),
        ]
        for row, mark in zip(board.to_dict("records"), _marks(board, baselines), strict=True)
    ]


def _baseline_cells(board: pd.DataFrame, baselines: Sequence[Baseline]) -> list[list[str]]:
    scale = 100.0 if _percent(board) else 1.0
    rows = []
    for baseline in baselines:
        cells = dict.fromkeys(HEADINGS, "")
        cells |= {"rank": "-", "algorithm": baseline.name}
        cells["validation"] = f"{scale * baseline.validation_mean:.4g}"
        blanks = " " * len(_marks(board, baselines)[0])
        cells["test"] = f"{scale * baseline.test_mean:.4g}{blanks}"
        rows.append(list(cells.values()))
    return rows


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
    decimals = max(1 - math.floor(math.log10(half)), 0)
    if decimals > MOST_DECIMALS:
        return f"{mean:.4g} ± {half:.2g}"
    return f"{mean:.{decimals}f} ± {half:.{decimals}f}"


def _marks(board: pd.DataFrame, baselines: Sequence[Baseline]) -> list[str]:
    """Return what stands behind the meta-test of each row, all of one width."""
    marked = (
        ("*", board["confirmed"]),
        ("†", board["failed_seeds"]),
        ("‡", _no_better(board, baselines)),
    )
    columns = [[sign if is_so else "" for is_so in column] for sign, column in marked]
    marks = ["".join(signs) for signs in zip(*columns, strict=True)]
    return [mark.ljust(max(map(len, ["*", *marks]))) for mark in marks]


def _short(value: float) -> str:
    """Return two meaningful digits, or whole numbers above a hundred."""
    return f"{value:.0f}" if value >= 100 else f"{value:.2g}"


def _parameter(parameters: Mapping[str, Any], name: str) -> str:
    values = [value for key, value in parameters.items() if key.endswith(f"/{name}")]
    return f"{values[0]:.3g}" if values else "-"


def _rows(frame: pd.DataFrame) -> list[dict[str, Any]]:
    return [
        {str(key): _plain(value) for key, value in row.items()} for row in frame.to_dict("records")
    ]


def _plain(value: Any) -> Any:
    """Return a JSON value; numpy's scalars become Python's."""
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if hasattr(value, "item"):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value

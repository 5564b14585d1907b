"""Two trials of one problem, compared on the same meta-test episodes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pandas as pd

from search.errors import FailedError, UserError
from search.records import Interval, interval

LOWER_IS_BETTER = "query_loss"
COUNTS = (
    "query_intersection",
    "query_union",
    "query_background_intersection",
    "query_background_union",
)
"""What only adds up to a metric: of pixels neither more nor fewer are better."""

LEAST_CHARACTERS = 4
"""Of the beginning of a run id."""

Values = Callable[[str, str], "pd.Series[float]"]
"""(run id, metric) -> the metric on each meta-test episode, by episode index."""


@dataclass(frozen=True)
class Difference:
    """What one trial has more than another, by one metric, on n episodes that both were judged on.

    one, other: means over these episodes.
    difference: of one minus other, with its interval over the episodes' own differences: narrower
        than what two separate intervals tell, as an episode that is hard is so for both.
    better: episodes on which one is better than other.
    only_one: episodes left out since other has no finite number there; only_other: since one has
        none.
    """

    metric: str
    one: float
    other: float
    difference: Interval
    better: int
    only_one: int = 0
    only_other: int = 0


def chosen(board: pd.DataFrame, name: str) -> pd.Series:
    """Return the row of a leaderboard that a rank, an algorithm or the start of a run id names.

    board: columns as in `search.leaderboard.COLUMNS`, best first. An algorithm stands for its best.
    Raises UserError when it names none.
    """
    if name.isdecimal() and 1 <= int(name) <= len(board):
        return board.iloc[int(name) - 1]
    by_algorithm = board[board["algorithm"] == name]
    if len(by_algorithm):
        return by_algorithm.iloc[0]
    if len(name) >= LEAST_CHARACTERS:
        by_run = board[board["run_id"].str.startswith(name)]
        if len(by_run) == 1:
            return by_run.iloc[0]
    algorithms = ", ".join(dict.fromkeys(board["algorithm"]))
    raise UserError(
        f"{name}: names no finished trial: give a rank from 1 to {len(board)}, an algorithm "
        f"({algorithms}), whose best is meant, or the beginning of a run id"
    )


def compared(one: str, other: str, metrics: Sequence[str], values: Values) -> list[Difference]:
    """Compare two runs by each metric. Raises FailedError where they share too few episodes."""
    found = []
    for metric in metrics:
        each = values(one, metric), values(other, metric)
        pairs = pd.concat(each, axis=1, join="inner")
        if len(pairs) < 2:
            raise FailedError(
                f"{metric}: the trials have {len(pairs)} meta-test episodes in common, which is "
                "too few to compare: were all of them sent to MLflow? (metasweep sync)"
            )
        first, second = pairs.iloc[:, 0].to_numpy(), pairs.iloc[:, 1].to_numpy()
        gain = second - first if metric == LOWER_IS_BETTER else first - second
        found.append(
            Difference(
                metric,
                float(first.mean()),
                float(second.mean()),
                interval(first - second),
                int((gain > 0).sum()),
                *(len(values.index) - len(pairs) for values in each),
            )
        )
    return found

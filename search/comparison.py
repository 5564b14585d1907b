"""Two trials of one problem, compared on the same meta-test episodes."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pandas as pd

from search.errors import FailedError, UserError
from search.leaderboard import WITHOUT_META_LEARNING, TestValues, confirmations
from search.records import Interval, interval
from search.repeated_trainings import as_one

LOWER_IS_BETTER = "query_loss"
IN_PERCENT = ("query_accuracy", "query_iou")
COUNTS = (
    "query_intersection",
    "query_union",
    "query_background_intersection",
    "query_background_union",
)
"""What only adds up to a metric: of pixels neither more nor fewer are better."""

PUBLISHED = "published"
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

    board: columns as in `search.leaderboard.COLUMNS`, best first. An algorithm stands for its best,
    and "published" for the best published default.
    Raises UserError when it names none.
    """
    if name.isdecimal() and 1 <= int(name) <= len(board):
        return board.iloc[int(name) - 1]
    for meant in (board["algorithm"] == name, board["published"] & (name == PUBLISHED)):
        if meant.any():
            return board[meant].iloc[0]
    if len(name) >= LEAST_CHARACTERS:
        by_run = board[board["run_id"].str.startswith(name)]
        if len(by_run) == 1:
            return by_run.iloc[0]
    algorithms = ", ".join(dict.fromkeys(board["algorithm"]))
    published = f"{PUBLISHED!r} for the best published default, " * bool(board["published"].any())
    raise UserError(
        f"{name}: names no row of the leaderboard: give a rank from 1 to {len(board)}, an "
        f"algorithm ({algorithms}), whose best is meant, {published}or the beginning of a run id"
    )


def over_seeds(frame: pd.DataFrame, read: TestValues) -> Values:
    """Return the values of trials, of confirmed ones their means over the fresh seeds.

    So they are what a leaderboard shows. Episodes on which a seed has no finite number are left
    out. frame: from `search.tracking_reader.Reader.trials`.
    """
    again = confirmations(as_one(frame)).groupby("of_run")["run_id"].agg(list).to_dict()

    def values(run_id: str, metric: str) -> pd.Series[float]:
        seeds = read(again.get(run_id, [run_id]), metric)
        return pd.concat(seeds, axis=1).dropna().mean(axis=1)

    return values


def compared(one: str, other: str, metrics: Sequence[str], values: Values) -> list[Difference]:
    """Compare two trials by each metric. Raises FailedError where they share too few episodes."""
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


def gain(board: pd.DataFrame, name: str, values: Values) -> str:
    """Say, a line each, how far the best is from what it has to be compared with, where that ran.

    That is the best published default, and the best of each of `WITHOUT_META_LEARNING`. What shares
    too few episodes with the best, since its own were not sent yet, is left out.
    board: columns as in `search.leaderboard.COLUMNS`, best first. name: of what it is.
    """
    best, lines = board.iloc[0], []
    if best["published"]:
        lines.append(f"The best is the published default of {best['algorithm']}.")
    if best["algorithm"] in WITHOUT_META_LEARNING:
        lines.append(f"The best is {best['algorithm']}, which does not meta-learn.")
    groups = {PUBLISHED: ("the best published default", board["published"])}
    for algorithm in WITHOUT_META_LEARNING:
        groups[algorithm] = f"the best of {algorithm}", board["algorithm"] == algorithm
    others: dict[str, list[str]] = {}
    for word, (_, of) in groups.items():
        if of.any() and not of.iloc[0]:
            others.setdefault(board[of].iloc[0]["run_id"], []).append(word)
    for run_id, words in others.items():
        other = board[board["run_id"] == run_id].iloc[0]
        what = ", which is also ".join(groups[word][0] for word in words)
        with contextlib.suppress(FailedError):
            command = f"metasweep compare {name} 1 {words[0]}"
            lines.append(f"{_lead(best, other, what, values)}:  {command}")
    return "\n".join(lines)


def _lead(best: pd.Series, other: pd.Series, what: str, values: Values) -> str:
    [found] = compared(best["run_id"], other["run_id"], [best["metric"]], values)
    percent = found.metric in IN_PERCENT
    scale, unit = (100.0, " percentage points") if percent else (1.0, "")
    low, mean, high = sorted(
        scale * end
        for end in (found.difference.ci95_low, found.difference.mean, found.difference.ci95_high)
    )
    sign = -1 if mean < 0 else 1
    near, far = sorted((sign * low, sign * high))
    doubt = "" if near > 0 else ", no clear difference"
    way = "lower" if sign < 0 else "higher"
    trained = ""
    if best["episodes"] != other["episodes"]:
        trained = f", after {best['episodes']:,} training episodes against {other['episodes']:,}"
    return (
        f"Rank 1 has a {found.metric} {way} by {sign * mean:.3g}{unit} "
        f"(95 %: {near:.3g} to {far:.3g}{doubt}) than {what}, rank {other['rank']}, "
        f"on the same {found.difference.n:,} meta-test episodes{trained}"
    )

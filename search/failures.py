"""The trials that ended without a number of their own doing, and why.

A leaderboard of what went well hides what a search space is full of: configurations that diverge,
that run out of memory, or that break.
"""

from __future__ import annotations

import re

import pandas as pd

COLUMNS = ("number", "kind", "algorithm", "network", "seed", "state", "reason", "run_id")
TIME_LIMIT = "time limit reached"
STOPPED = ("pruned by", TIME_LIMIT)
"""How the reasons of trials begin that the search stopped, which had not failed."""

NUMBER = re.compile(r"\d+(\.\d+)?(e[+-]?\d+)?")


def failed(frame: pd.DataFrame, problem_hash: str = "") -> pd.DataFrame:
    """Return the runs that ended as FAIL, or as PRUNED by their own doing, in order of number.

    frame: from `search.tracking_reader.Reader.trials`.
    problem_hash: only runs of problems whose hash begins so.
    Columns as in `COLUMNS`: `number` is the trial's, `state` FAIL or PRUNED, `reason` may be empty.
    """
    rows = frame[_ended_early(frame, problem_hash) & ~_stopped(frame)]
    rows = rows.rename(columns={"trial": "number"})
    order = ["number", "kind", "seed"]
    # A trial before the confirmations of it.
    rows = rows.sort_values(order, ascending=[True, False, True], ignore_index=True)
    return rows.loc[:, list(COLUMNS)]


def stopped(frame: pd.DataFrame, problem_hash: str = "") -> int:
    """Return how many trials the search itself stopped before their end, to save time."""
    return int((_ended_early(frame, problem_hash) & _stopped(frame)).sum())


def kind_of(reason: str) -> str:
    """Return what reasons have in common that differ in numbers alone: `loss is nan after N`."""
    return NUMBER.sub("N", reason)


def by_reason(failures: pd.DataFrame) -> pd.DataFrame:
    """Count failures by state and kind of reason, the most frequent first.

    Returns the columns `count`, `state` and `reason`, whose numbers are given where all are equal.
    """
    groups = failures.groupby(["state", failures["reason"].map(kind_of)], sort=False)
    counted = [
        {
            "count": len(group),
            "state": state,
            "reason": kind if group["reason"].nunique() > 1 else group["reason"].iloc[0],
        }
        for (state, kind), group in groups
    ]
    counts = pd.DataFrame(counted, columns=["count", "state", "reason"])
    return counts.sort_values("count", ascending=False, kind="stable", ignore_index=True)


def _ended_early(frame: pd.DataFrame, problem_hash: str) -> pd.Series:
    of_problem = frame["problem_hash"].str.startswith(problem_hash)
    return frame["state"].isin(("FAIL", "PRUNED")) & of_problem


def _stopped(frame: pd.DataFrame) -> pd.Series:
    return (frame["state"] == "PRUNED") & frame["reason"].str.startswith(STOPPED)

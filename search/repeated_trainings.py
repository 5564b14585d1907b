"""Trainings of one configuration with several seeds: one entry of a leaderboard.

Ranked one by one, the luckiest seed would stand for the configuration, and more seeds would win
against better configurations.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd


def as_one(frame: pd.DataFrame) -> pd.DataFrame:
    """Return runs in which trainings that differ in their seed alone have become one.

    The first of them stands for all, by the mean of their meta-validation; its interval is as wide
    as theirs are on average. All are its confirmations, itself too: none was chosen by its number.
    Those that failed count as seeds of it that failed. What was trained with a seed again counts
    once.
    frame: from `search.tracking_reader.Reader.trials`, in the order in which runs were started.
    """
    trainings = frame[(frame["kind"] == "train") & (frame["state"] != "RUNNING")]
    if len(trainings) < 2:
        return frame
    alike = [_but_seed(*key) for key in zip(*(trainings[k] for k in KEYS), strict=True)]
    changed, added, merged = {}, [], []
    for _, group in trainings.groupby(pd.Series(alike, trainings.index), sort=False):
        is_good = (group["state"] == "COMPLETE") & np.isfinite(group["validation_mean"])
        # By seed, the ones with a number first.
        seeds = pd.concat([group[is_good], group[~is_good]]).drop_duplicates("seed")
        good = seeds[seeds.index.isin(group.index[is_good])]
        if good.empty:
            continue
        first = good.index[0]
        merged += [run for run in group.index if run != first]
        others = seeds if len(good) > 1 else seeds.drop(first)
        added.append(others.assign(kind="confirmation", of_run=good.at[first, "run_id"]))
        changed[first] = _means(good)
    frame = frame.drop(merged)
    for first, values in changed.items():
        for name, value in values.items():
            frame.at[first, name] = value
    return pd.concat([frame, *(rows for rows in added if len(rows))], ignore_index=True)


KEYS = ("problem_hash", "params")


def _but_seed(problem: str, params: Mapping[str, str]) -> str:
    return repr((problem, sorted(item for item in params.items() if item[0] != "seed")))


def _means(runs: pd.DataFrame) -> dict[str, float]:
    mean = float(runs["validation_mean"].mean())
    half = float((runs["validation_ci95_high"] - runs["validation_ci95_low"]).mean()) / 2
    ends = {"validation_ci95_low": mean - half, "validation_ci95_high": mean + half}
    return {"validation_mean": mean, **ends}

"""Trainings of one configuration with several seeds: one entry of a leaderboard.

Ranked one by one, the luckiest seed would stand for the configuration, and more seeds would win
against better configurations.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from search.errors import UserError
from search.run_params import from_params

COSTS = ("train_seconds", "adaptation_ms")
"""Which are shown as means, as meta-validation is; of memory the most."""


def as_one(frame: pd.DataFrame) -> pd.DataFrame:
    """Return runs in which trainings that differ in their seed alone have become one.

    One of them stands for all, by means over the seeds; its interval is as wide as theirs are on
    average. All are its confirmations, itself too: none was chosen by its number. Those that failed
    count as seeds of it that failed. Of a seed that was trained again the last one counts. A
    training that repeats a trial, seed and all, stands by itself: that seed was chosen.
    frame: from `search.tracking_reader.Reader.trials`, in the order in which runs were started.
    """
    trainings = frame[(frame["kind"] == "train") & (frame["state"] != "RUNNING")]
    if len(trainings) < 2:
        return frame
    chosen = _chosen(frame, trainings)
    alike = _keys(trainings)
    # A chosen seed is in a group of its own, whose only seed it is.
    alike = alike.where(~chosen, alike + trainings["seed"].map("{:d}".format))
    changed, added, merged = {}, [], []
    for _, group in trainings.groupby(alike, sort=False):
        is_good = (group["state"] == "COMPLETE") & np.isfinite(group["validation_mean"])
        good = group[is_good].drop_duplicates("seed", keep="last")
        if len(group) == 1 or good.empty:
            continue
        bad = group[~is_good & ~group["seed"].isin(good["seed"])].drop_duplicates("seed")
        first = good.index[0]
        merged += [run for run in group.index if run != first]
        others = [bad] if len(good) == 1 else [good, bad]
        name = good.at[first, "run_id"]
        added += [rows.assign(kind="confirmation", of_run=name) for rows in others if len(rows)]
        if len(good) > 1:
            changed[first] = _means(good)
    frame = frame.drop(merged)
    for run, values in changed.items():
        for column, value in values.items():
            frame.at[run, column] = value
    return pd.concat([frame, *added], ignore_index=True)


def _chosen(frame: pd.DataFrame, trainings: pd.DataFrame) -> pd.Series[bool]:
    """Say which trainings repeat a trial with the seed by which it was chosen."""
    names = ["problem_hash", "algorithm", "network", "seed"]
    # Of a thousand trials only these can be repeated: their keys alone are made.
    trials = frame[frame["kind"] == "trial"].merge(trainings[names].drop_duplicates(), on=names)
    taken = set(zip(_keys(trials), trials["seed"], strict=True))
    own = zip(_keys(trainings), trainings["seed"], strict=True)
    return pd.Series([key in taken for key in own], trainings.index, dtype=bool)


def _keys(runs: pd.DataFrame) -> pd.Series[str]:
    return runs["problem_hash"] + runs["params"].map(_but_seed).astype(str)


def _but_seed(params: Mapping[str, str]) -> str:
    """Return what is learned with, and how long; not with which seed, on which device and data.

    Which data is for the problem's hash to say, wherever they lie.
    """
    try:
        config = from_params(params)
    except (KeyError, TypeError, UserError):  # Of another version.
        return repr(sorted(item for item in params.items() if item[0] != "seed"))
    learner = (config.algorithm, config.network, *map(_sorted, (config.hyper, config.settings)))
    return repr((*learner, config.episodes, config.rungs, config.seeds))


def _sorted(values: Mapping[str, object]) -> list[tuple[str, object]]:
    return sorted(values.items())


def _means(runs: pd.DataFrame) -> dict[str, float]:
    mean = float(runs["validation_mean"].mean())
    half = float((runs["validation_ci95_high"] - runs["validation_ci95_low"]).mean()) / 2
    found = {"validation_mean": mean}
    found |= {"validation_ci95_low": mean - half, "validation_ci95_high": mean + half}
    found |= {name: float(runs[name].mean()) for name in COSTS if name in runs}
    if "peak_memory_mb" in runs:
        found["peak_memory_mb"] = float(runs["peak_memory_mb"].max())
    return found

"""Which of the recorded episodes become MLflow metrics, under which key and step."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pandas as pd

from episodes.kinds import SCORES
from search.config import Config
from search.episode_table import measures
from search.records import RecordSplit

TRAIN_ROWS = 2000
"""At most so many training episodes are sent per key; the parquet files hold all of them."""


class Row(NamedTuple):
    """One metric value. Only finite ones are sent: the parquet files hold the rest."""

    key: str
    value: float
    step: int


def episode_metrics(table: pd.DataFrame, config: Config) -> Iterator[Row]:
    """Yield the metrics of some rows of the episode table, the same for the same rows.

    SCORE is that of the problem, such as `accuracy`; where it has none, these keys are left out.
    `episode/validation/*`, `episode/test/*`: every episode, step = its index.
    `episode/rung/*`: every episode, step = number of the rung times rung episodes + index.
    `episode/train/*`: every so many-th episode, step = its index.
    `episode/test/query_MEASURE_after`: the same, for whatever else the task measures.
    `validation/query_loss`, `validation/query_SCORE`: means over each rung's episodes and the
    ranking ones, step = training episodes seen.
    Where a configuration has several seeds, each value is their mean on an episode.
    """
    evaluated, trained = _columns(table, config)
    if config.seeds > 1:
        # skipna=False: an episode that diverged for one seed has no mean.
        keys = ["split", "index", "episodes_seen"]
        columns = list(evaluated.values())
        table = table.groupby(keys, sort=False)[columns].mean(skipna=False).reset_index()
    evaluation: tuple[RecordSplit, ...] = ("rung", "validation", "test")
    for split in evaluation:
        rows = table[table["split"] == split]
        steps = rows["index"].to_numpy()
        if split == "rung":
            rung = np.searchsorted(config.rungs, rows["episodes_seen"].to_numpy())
            steps = steps + rung * config.problem.rung_episodes
        for name, column in evaluated.items():
            yield from _rows(f"episode/{split}/{name}", rows[column], steps)

    stride = -(-config.episodes // TRAIN_ROWS)
    train = table[(table["split"] == "train") & (table["index"] % stride == 0)]
    for name, column in trained.items():
        yield from _rows(f"episode/train/{name}", train[column], train["index"].to_numpy())

    judged = table[table["split"].isin(("rung", "validation"))].groupby("episodes_seen")
    for name, column in trained.items():
        # skipna=False: one diverged episode must not vanish from a mean.
        means = judged[column].mean(skipna=False)
        yield from _rows(f"validation/{name}", means, means.index.to_numpy())


def _columns(table: pd.DataFrame, config: Config) -> tuple[dict[str, str], dict[str, str]]:
    """Return the columns of evaluation and of training episodes, by the names of their metrics."""
    judged = {"query_loss": "loss"}
    score = SCORES[config.problem.kind]
    if score:
        judged[f"query_{score}"] = "score"
    evaluated = {
        f"{name}_{when}": f"{column}_{when}"
        for name, column in judged.items()
        for when in ("before", "after")
    }
    evaluated |= {f"query_{name}_after": name for name in measures(table)}
    return evaluated, {name: f"{column}_after" for name, column in judged.items()}


def _rows(key: str, values: pd.Series, steps: np.ndarray) -> Iterator[Row]:
    for value, step in zip(values.to_numpy(), steps, strict=True):
        if np.isfinite(value):
            yield Row(key, float(value), int(step))

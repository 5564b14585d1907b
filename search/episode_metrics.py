"""Which of the recorded episodes become MLflow metrics, under which key and step."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pandas as pd

from search.config import Config
from search.records import RecordSplit

TRAIN_ROWS = 2000
"""At most so many training episodes are sent per key; the parquet files hold all of them."""


class Row(NamedTuple):
    """One metric value. Only finite ones are sent: the parquet files hold the rest."""

    key: str
    value: float
    step: int


EVALUATION_COLUMNS = {
    "query_loss_before": "loss_before",
    "query_loss_after": "loss_after",
    "query_accuracy_before": "accuracy_before",
    "query_accuracy_after": "accuracy_after",
}
TRAIN_COLUMNS = {"query_loss": "loss_after", "query_accuracy": "accuracy_after"}


def episode_metrics(table: pd.DataFrame, config: Config) -> Iterator[Row]:
    """Yield the metrics of some rows of the episode table, the same for the same rows.

    `episode/validation/*`, `episode/test/*`: every episode, step = its index.
    `episode/rung/*`: every episode, step = number of the rung times rung episodes + index.
    `episode/train/*`: every so many-th episode, step = its index.
    `validation/query_loss`, `validation/query_accuracy`: means over each rung's episodes and the
    ranking ones, step = training episodes seen.
    Where a configuration has several seeds, each value is their mean on an episode.
    """
    if config.seeds > 1:
        # skipna=False: an episode that diverged for one seed has no mean.
        keys = ["split", "index", "episodes_seen"]
        columns = list(EVALUATION_COLUMNS.values())
        table = table.groupby(keys, sort=False)[columns].mean(skipna=False).reset_index()
    evaluation: tuple[RecordSplit, ...] = ("rung", "validation", "test")
    for split in evaluation:
        rows = table[table["split"] == split]
        steps = rows["index"].to_numpy()
        if split == "rung":
            rung = np.searchsorted(config.rungs, rows["episodes_seen"].to_numpy())
            steps = steps + rung * config.problem.rung_episodes
        for name, column in EVALUATION_COLUMNS.items():
            yield from _rows(f"episode/{split}/{name}", rows[column], steps)

    stride = -(-config.episodes // TRAIN_ROWS)
    train = table[(table["split"] == "train") & (table["index"] % stride == 0)]
    for name, column in TRAIN_COLUMNS.items():
        yield from _rows(f"episode/train/{name}", train[column], train["index"].to_numpy())

    judged = table[table["split"].isin(("rung", "validation"))].groupby("episodes_seen")
    for name, column in TRAIN_COLUMNS.items():
        # skipna=False: one diverged episode must not vanish from a mean.
        means = judged[column].mean(skipna=False)
        yield from _rows(f"validation/{name}", means, means.index.to_numpy())


def _rows(key: str, values: pd.Series, steps: np.ndarray) -> Iterator[Row]:
    for value, step in zip(values.to_numpy(), steps, strict=True):
        if np.isfinite(value):
            yield Row(key, float(value), int(step))

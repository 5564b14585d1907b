"""The episode table: what is written is what is read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from search import episode_table
from search.records import EpisodeRecords


def records(splits: list[str]) -> EpisodeRecords:
    count = len(splits)
    numbers, values = np.arange(count), np.linspace(0, 1, count)
    return EpisodeRecords(
        split=np.array(splits, dtype="U10"),
        index=numbers,
        seed=numbers + 1,
        episodes_seen=numbers * 25,
        seconds=values,
        classes=np.empty((count, 0), dtype=np.int64),
        loss_before=np.full(count, np.nan),
        loss_after=values + 1,
        score_before=np.full(count, np.nan),
        score_after=values + 2,
        loss_curve=np.empty((count, 0)),
        score_curve=np.empty((count, 0)),
    )


@pytest.mark.parametrize(
    "splits",
    [["train"] * 3, ["rung", "validation", "rung"], ["validation", "val", "validation"], []],
    ids=["one split", "several", "one the beginning of another", "none"],
)
def test_rows_keep_their_split(splits: list[str], tmp_path: Path) -> None:
    path = tmp_path / "episodes.parquet"
    path.write_bytes(episode_table.to_parquet([records(splits), records(["test"] * 2)]))
    frame = episode_table.read([path])
    assert frame["split"].tolist() == [*splits, "test", "test"]
    assert frame["index"].tolist() == [*range(len(splits)), 0, 1]
    assert frame["loss_before"].isna().all()

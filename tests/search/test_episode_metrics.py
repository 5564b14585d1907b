from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from search.config import Config
from search.episode_metrics import TRAIN_ROWS, episode_metrics
from search.records import EpisodeRecords
from search.snapshot import Snapshot
from search.trial_folder import TrialFolder

MakeRecords = Callable[..., EpisodeRecords]


class TestEpisodeMetrics:
    def test_training_episodes_come_at_a_stride(
        self, tmp_path: Path, config: Config, snapshot: Snapshot, make_records: MakeRecords
    ) -> None:
        problem = replace(config.problem, kind="classification", ways=5)
        long = replace(config, problem=problem, episodes=2 * TRAIN_ROWS + 1, rungs=())
        folder = TrialFolder(tmp_path)
        folder.add([make_records("train", range(long.episodes), long.episodes, accuracy=True)])
        folder.seal(snapshot, long)
        rows = list(episode_metrics(folder.table(), long))
        found = [row.step for row in rows if row.key == "episode/train/query_loss"]
        assert found == list(range(0, long.episodes, 3))
        assert {row.key for row in rows} == {
            "episode/train/query_loss",
            "episode/train/query_accuracy",
        }

    @pytest.mark.parametrize("broken", [np.nan, np.inf])
    def test_what_is_not_finite_is_not_sent(
        self,
        tmp_path: Path,
        config: Config,
        snapshot: Snapshot,
        make_records: MakeRecords,
        broken: float,
    ) -> None:
        records = make_records("rung", range(4), 100)
        records.loss_after[:2] = [np.nan, broken]
        folder = TrialFolder(tmp_path)
        folder.add([records])
        folder.seal(snapshot, config)
        rows = list(episode_metrics(folder.table(), config))
        assert [row.step for row in rows if row.key == "episode/rung/query_loss_after"] == [2, 3]
        assert not [row for row in rows if row.key == "validation/query_loss"]

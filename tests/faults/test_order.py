"""The audit of the order in which episodes arrive sees an order that is broken."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import tracking_trials
from search.config import Config
from search.tracking import Tracker
from search.trial_folder import TrialFolder
from tests.faults.order import out_of_order

# mlflow 3.17 maps its tables in a way that SQLAlchemy 2.1 deprecates.
pytestmark = pytest.mark.filterwarnings(
    "ignore:The ``noload`` loader strategy:sqlalchemy.exc.SADeprecationWarning"
)


@pytest.fixture(scope="module")
def trial(tmp_path_factory: pytest.TempPathFactory) -> tuple[TrialFolder, Config]:
    """Of its six shards 0, 2 and 4 hold training episodes, 1 and 3 a rung's, 5 what ranks it."""
    config = replace(tracking_trials.config(0, 40), rungs=(10, 20))
    return tracking_trials.sealed(tmp_path_factory.mktemp("trial"), config), config


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("store") / "mlflow.db"


def sent(trial: tuple[TrialFolder, Config], order: list[int], database: Path) -> str:
    """Send shards in an order of one's own; return the run that has them."""
    folder, config = trial
    tracker = Tracker(f"sqlite:///{database}", database.with_name("artifacts"))
    run_id = tracker.start_trial(config, "train", 0)
    for index in order:
        part = TrialFolder(folder.path, (folder.shards[index],))
        assert tracker.publish(run_id, part, config)
    return run_id


def test_shards_in_order_are_right(trial: tuple[TrialFolder, Config], database: Path) -> None:
    assert len(trial[0].shards) == 6
    assert out_of_order(database, sent(trial, [0, 1, 2, 3, 4, 5], database)) == []


@pytest.mark.parametrize(
    ("order", "key", "steps"),
    [
        ([2, 0, 1, 3, 4, 5], "episode/train/query_loss", "0 came after 19"),
        ([0, 1, 4, 2, 3, 5], "episode/train/query_loss", "10 came after 39"),
        ([0, 3, 2, 1, 4, 5], "episode/rung/query_loss_after", "0 came after 399"),
    ],
)
def test_shards_out_of_order_are_seen(
    trial: tuple[TrialFolder, Config],
    database: Path,
    order: list[int],
    key: str,
    steps: str,
) -> None:
    run_id = sent(trial, order, database)
    wrong = out_of_order(database, run_id)
    assert f"run {run_id}: {key}: {steps}" in wrong


def test_a_run_without_training_episodes_is_wrong(
    trial: tuple[TrialFolder, Config], database: Path
) -> None:
    run_id = sent(trial, [1, 3, 5], database)
    assert out_of_order(database, run_id) == [f"run {run_id}: no training episodes came"]

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import tracking, tracking_leaderboard, tracking_trials
from benchmarks.tracking_stores import SQLITE
from search.leaderboard import standing
from search.tracking import Tracker
from search.tracking_reader import Reader

# mlflow 3.17 maps its tables in a way that SQLAlchemy 2.1 deprecates.
pytestmark = pytest.mark.filterwarnings(
    "ignore:The ``noload`` loader strategy:sqlalchemy.exc.SADeprecationWarning"
)


def test_ways_to_record_are_compared_in_one_run(tmp_path: Path) -> None:
    found = tracking.measure(SQLITE, tmp_path / "store", [2], episodes=100, seconds=2.0)
    rates = {each.way: each for each in found}
    assert set(rates) == set(tracking.WAYS.values())
    callback = rates["MLflowLoggerCallback"]
    assert callback.ratio == 1
    for each in found:
        assert each.ratio == pytest.approx(each.metrics / callback.metrics)
        assert each.metrics > each.episodes > 0
    assert [row[:2] for row in tracking.rows(found)] == [[SQLITE, "2"]] * 3


def test_ours_counts_what_the_store_then_holds(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    config = tracking_trials.config(3, 100)
    trial = tracking_trials.sealed(tmp_path / "trial", config)
    tracker = Tracker(uri, tmp_path / "artifacts")
    run_id = tracker.start_trial(config, "train", 3)
    done = tracking_trials.ours(tracker, run_id, trial, config)
    problem, rungs = config.problem, len(config.rungs)
    judged = rungs * problem.rung_episodes + problem.ranking_episodes + problem.test_episodes
    assert done.episodes == len(Reader(uri).episodes(run_id)) == 100 + judged
    # Four values an episode that was judged, two one of training, two means a rung and at the end.
    assert done.metrics == 4 * judged + 2 * 100 + 2 * (rungs + 1)
    client = Reader(uri)._client
    keys = client.get_run(run_id).data.metrics
    assert sum(len(client.get_metric_history(run_id, key)) for key in keys) == done.metrics


def test_large_leaderboard_is_that_of_a_search(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    tracking_leaderboard.fill(uri, tmp_path, trials=20)
    reader = Reader(uri)
    found = standing(reader.trials("large"), "large", reader.test_values_of)
    assert len(found.ranked) == 18
    assert found.ranked["confirmed"].sum() == 5
    assert found.ranked["confirmed"][:5].all()
    assert list(found.failed["number"]) == [9, 19]

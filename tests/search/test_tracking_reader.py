from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from search.config import Config
from search.errors import FailedError, UserError
from search.results import board_of
from search.tracking import Tracker
from search.tracking_client import connect
from search.tracking_reader import Reader

# mlflow 3.17 maps its tables in a way that SQLAlchemy 2.1 deprecates.
pytestmark = pytest.mark.filterwarnings(
    "ignore:The ``noload`` loader strategy:sqlalchemy.exc.SADeprecationWarning"
)


@pytest.fixture
def tracker(tracking_uri: str, tmp_path: Path) -> Tracker:
    return Tracker(tracking_uri, tmp_path / "a store" / "artifacts")


class TestReader:
    def test_a_search_and_a_problem(
        self, tracker: Tracker, tracking_uri: str, config: Config
    ) -> None:
        search = tracker.start_search(config.problem, "first", {}, seed=0)
        inside = tracker.start_trial(config, "trial", 0, search_name="first", search_run_id=search)
        alone = tracker.start_trial(config, "train", 0)
        tracker.finish_trial(
            inside, "COMPLETE", summaries={"validation_mean": 1.7976931348623157e308}
        )
        reader = Reader(tracking_uri)
        first = reader.trials("first")
        assert list(first["run_id"]) == [inside]
        assert first["validation_mean"].iloc[0] == np.inf
        problem = reader.trials("sinusoid-10shot")
        assert set(problem["run_id"]) == {inside, alone}
        row = problem.set_index("run_id").loc[alone]
        assert (row["kind"], row["state"], row["algorithm"]) == ("train", "RUNNING", "maml")
        assert np.isnan(row["validation_mean"])

    def test_a_search_without_trials(
        self, tracker: Tracker, tracking_uri: str, config: Config
    ) -> None:
        run_id = tracker.start_search(config.problem, "first", {}, seed=0)
        reader = Reader(tracking_uri)
        assert reader.trials("first")["validation_mean"].dtype == float
        with pytest.raises(FailedError, match="first: no trial was started yet"):
            board_of(reader, "first")
        assert reader.holds(run_id)
        assert not reader.holds(32 * "0")

    def test_more_runs_than_fit_on_a_page(
        self,
        tracker: Tracker,
        tracking_uri: str,
        config: Config,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr("search.tracking_query.PAGE", 2)
        runs = [tracker.start_trial(config, "train", number) for number in range(5)]
        reader = Reader(tracking_uri)
        reader._database = None  # As where a server or a folder is asked.
        assert list(reader.trials("sinusoid-10shot")["run_id"]) == runs

    def test_unknown_names(self, tracker: Tracker, tracking_uri: str, config: Config) -> None:
        reader = Reader(tracking_uri)
        with pytest.raises(UserError, match="nothing was recorded there yet"):
            reader.trials("first")
        tracker.start_search(config.problem, "first", {}, seed=0)
        with pytest.raises(UserError, match="no search or problem named 'frist'; there is first"):
            reader.trials("frist")

    def test_a_run_of_somebody_else(self, tracking_uri: str) -> None:
        client = connect(tracking_uri)
        run = client.create_run(client.create_experiment("other")).info.run_id
        reader = Reader(tracking_uri)
        assert reader.trials("other").empty
        with pytest.raises(FailedError, match="not a configuration of metasweep"):
            reader.config(run)

from __future__ import annotations

import json
import logging
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from search.config import Config
from search.errors import FailedError, StoreError, UserError
from search.records import EpisodeRecords
from search.snapshot import Snapshot
from search.tracking import Tracker
from search.tracking_client import connect
from search.tracking_reader import Reader
from search.trial_folder import TrialFolder

MakeRecords = Callable[..., EpisodeRecords]

# mlflow 3.17 maps its tables in a way that SQLAlchemy 2.1 deprecates.
pytestmark = pytest.mark.filterwarnings(
    "ignore:The ``noload`` loader strategy:sqlalchemy.exc.SADeprecationWarning"
)


@pytest.fixture
def tracker(tracking_uri: str, tmp_path: Path) -> Tracker:
    return Tracker(tracking_uri, tmp_path / "a store" / "artifacts")


@pytest.fixture
def folder(
    tmp_path: Path, config: Config, snapshot: Snapshot, make_records: MakeRecords
) -> TrialFolder:
    """A trial that ran to its end, sealed in two shards."""
    folder = TrialFolder(tmp_path / "trial")
    folder.add([make_records("train", range(100), 100), make_records("rung", range(4), 100)])
    folder.seal(snapshot, config)
    folder.add([make_records("train", range(100, 300), 300), make_records("rung", range(4), 300)])
    folder.add([make_records("train", range(300, 900), 900)])
    folder.add([make_records("validation", range(4, 10), 900), make_records("test", range(8), 900)])
    folder.seal(snapshot, config)
    return folder


def count_rows(uri: str) -> int:
    """Count the metric values in a SQLite store."""
    with sqlite3.connect(uri.removeprefix("sqlite:///")) as database:
        (count,) = database.execute("select count(*) from metrics").fetchone()
    database.close()
    return count


def steps(client: object, run_id: str, key: str) -> list[int]:
    history = client.get_metric_history(run_id, key)  # type: ignore[attr-defined]
    return [point.step for point in history]


class TestRuns:
    def test_layout(self, tracker: Tracker, tracking_uri: str, config: Config) -> None:
        search = tracker.start_search(config.problem, "first", {"name": "first"}, seed=3)
        run = tracker.start_trial(config, "trial", 7, search_name="first", search_run_id=search)
        client = connect(tracking_uri)
        found = client.get_run(run)
        experiment = client.get_experiment_by_name("sinusoid-10shot")
        assert found.info.experiment_id == experiment.experiment_id
        assert experiment.artifact_location.startswith("file:///")
        assert found.info.run_name == "trial-007-maml-mlp"
        assert found.info.status == "RUNNING"
        tags = found.data.tags
        assert tags["mlflow.parentRunId"] == search
        assert tags["metasweep.problem_hash"] == config.problem.hash
        assert tags["metasweep.data_digest"] == "0123abcd"
        assert tags["metasweep.state"] == "RUNNING"
        assert json.loads(tags["metasweep.versions"])["python"]
        assert found.data.params["maml/inner_lr"] == "0.01"
        reader = Reader(tracking_uri)
        assert reader.config(run) == config
        assert reader.provenance(run)["search"] == "first"
        assert reader.find_search("first") == search
        assert reader.find_search("second") is None
        assert reader.find_search("' or '1' = '1") is None

    def test_a_name_in_use(self, tracker: Tracker, config: Config) -> None:
        tracker.start_search(config.problem, "first", {}, seed=0)
        with pytest.raises(UserError, match="'first': in use by another search"):
            tracker.start_search(replace(config.problem, shots=5), "first", {}, seed=0)

    @pytest.mark.parametrize("name", ["", "two words", "it's", "a/b"])
    def test_an_unfit_name(self, tracker: Tracker, config: Config, name: str) -> None:
        with pytest.raises(UserError, match=r"use letters, digits"):
            tracker.start_search(config.problem, name, {}, seed=0)

    def test_an_experiment_that_another_process_made_meanwhile(
        self,
        tracker: Tracker,
        tracking_uri: str,
        config: Config,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        client = tracker._client
        look = client.get_experiment_by_name
        other = connect(tracking_uri)
        asked: list[str] = []

        def look_too_early(name: str) -> object:
            asked.append(name)
            if len(asked) > 1:
                return look(name)
            other.create_experiment(name, artifact_location=tmp_path.as_uri())
            return None

        monkeypatch.setattr(client, "get_experiment_by_name", look_too_early)
        run = tracker.start_trial(config, "train", 0)
        assert client.get_run(run).info.status == "RUNNING"

    def test_a_deleted_experiment(
        self, tracker: Tracker, tracking_uri: str, config: Config
    ) -> None:
        tracker.start_trial(config, "train", 0)
        client = connect(tracking_uri)
        client.delete_experiment(client.get_experiment_by_name("sinusoid-10shot").experiment_id)
        with pytest.raises(FailedError, match="was deleted in MLflow: bring it back with"):
            tracker.start_trial(config, "train", 0)

    @pytest.mark.parametrize(
        ("state", "status"), [("COMPLETE", "FINISHED"), ("PRUNED", "FINISHED"), ("FAIL", "FAILED")]
    )
    def test_finish(
        self, tracker: Tracker, tracking_uri: str, config: Config, state: str, status: str
    ) -> None:
        run = tracker.start_trial(config, "train", 0)
        numbers = {"validation_mean": 0.5, "test_mean": np.inf, "adaptation_ms": np.nan}
        for _ in range(2):
            tracker.finish_trial(run, state, "why\nwhere", numbers)  # type: ignore[arg-type]
        found = connect(tracking_uri).get_run(run)
        assert found.info.status == status
        assert found.data.tags["metasweep.state"] == state
        assert found.data.tags["metasweep.reason"] == "why\nwhere"
        assert found.data.metrics == {"summary/validation_mean": 0.5}
        assert count_rows(tracking_uri) == 1

    def test_finish_search_keeps_its_files(
        self, tracker: Tracker, tracking_uri: str, config: Config, tmp_path: Path
    ) -> None:
        search = tracker.start_search(config.problem, "first", {"seed": 3}, seed=3)
        results = tmp_path / "results"
        results.mkdir()
        (results / "leaderboard.csv").write_text("rank\n1\n")
        tracker.finish_search(search, "COMPLETE", results)
        client = connect(tracking_uri)
        names = sorted(file.path for file in client.list_artifacts(search))
        assert names == ["leaderboard.csv", "spec.yaml"]
        assert client.get_run(search).info.status == "FINISHED"


class TestPublish:
    def test_every_evaluation_episode_arrives(
        self, tracker: Tracker, tracking_uri: str, config: Config, folder: TrialFolder
    ) -> None:
        run = tracker.start_trial(config, "trial", 0)
        assert tracker.publish(run, folder, config)
        client = connect(tracking_uri)
        key = "query_loss_after"
        assert steps(client, run, f"episode/validation/{key}") == list(range(4, 10))
        assert steps(client, run, f"episode/test/{key}") == list(range(8))
        assert steps(client, run, f"episode/rung/{key}") == list(range(8))
        assert steps(client, run, "episode/train/query_loss") == list(range(900))
        assert steps(client, run, "validation/query_loss") == [100, 300, 900]
        table = folder.table()
        rung = table[(table["split"] == "rung") & (table["episodes_seen"] == 300)]
        means = {p.step: p.value for p in client.get_metric_history(run, "validation/query_loss")}
        assert means[300] == pytest.approx(rung["loss_after"].mean(), rel=1e-12)
        assert "validation/query_accuracy" not in client.get_run(run).data.metrics
        reader = Reader(tracking_uri)
        assert reader.episodes(run).equals(table)
        values = reader.test_values(run, "query_loss")
        np.testing.assert_array_equal(values, table.loc[table["split"] == "test", "loss_after"])

    def test_twice_leaves_the_same_rows(
        self, tracker: Tracker, tracking_uri: str, config: Config, folder: TrialFolder
    ) -> None:
        run = tracker.start_trial(config, "trial", 0)
        assert tracker.publish(run, folder, config)
        once = count_rows(tracking_uri)
        # As after a crash between sending and noting that it was sent.
        (folder.path / "published.json").unlink()
        assert tracker.publish(run, folder, config)
        assert count_rows(tracking_uri) == once
        assert once == 900 + 2 * (8 + 6 + 8) + 3

    def test_only_what_is_new_is_sent(
        self,
        tracker: Tracker,
        config: Config,
        folder: TrialFolder,
        snapshot: Snapshot,
        make_records: MakeRecords,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        run = tracker.start_trial(config, "trial", 0)
        assert tracker.publish(run, folder, config)
        sent: list[str] = []
        monkeypatch.setattr(
            tracker._client, "log_artifact", lambda run, path, where: sent.append(Path(path).name)
        )
        assert tracker.publish(run, folder, config)
        folder.add([make_records("train", range(900, 910), 910)])
        folder.seal(snapshot, config)
        assert tracker.publish(run, folder, config)
        assert sent == ["episodes-00002-0001.parquet", "shards.json"]

    def test_what_a_trial_took_back_is_not_read(
        self,
        tracker: Tracker,
        tracking_uri: str,
        config: Config,
        folder: TrialFolder,
        snapshot: Snapshot,
        make_records: MakeRecords,
    ) -> None:
        """Its newest checkpoint was damaged when it was started again."""
        run = tracker.start_trial(config, "trial", 0)
        assert tracker.publish(run, folder, config)
        newest = max((folder.path / "checkpoints").iterdir()) / "checkpoint.json"
        newest.write_text(newest.read_text()[:50])
        again = TrialFolder(folder.path)
        assert again.resume(config) is not None
        again.add(
            [make_records("train", range(100, 900), 900), make_records("rung", range(4), 300)]
        )
        again.seal(snapshot, config)
        assert tracker.publish(run, again, config)
        table = Reader(tracking_uri).episodes(run)
        assert table.equals(again.table())
        train = table[table["split"] == "train"]
        assert list(train["index"]) == list(range(900))

    def test_a_store_that_is_down_costs_nothing(
        self,
        tracker: Tracker,
        tracking_uri: str,
        config: Config,
        folder: TrialFolder,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        run = tracker.start_trial(config, "trial", 0)

        def refuse(*args: object, **options: object) -> None:
            raise ConnectionError("connection refused")

        with monkeypatch.context() as down, caplog.at_level(logging.WARNING, "metasweep"):
            down.setattr(tracker._client, "log_batch", refuse)
            assert not tracker.publish(run, folder, config)
            with pytest.raises(StoreError, match="connection refused"):
                tracker.finish_trial(run, "COMPLETE")
        assert "are sent later" in caplog.text
        assert tracker.publish(run, folder, config)
        assert Reader(tracking_uri).episodes(run).equals(folder.table())

    def test_a_store_that_was_never_up_does_not_raise(
        self, config: Config, folder: TrialFolder, caplog: pytest.LogCaptureFixture
    ) -> None:
        tracker = Tracker("http://user:hunter2@127.0.0.1:9")
        assert not tracker.publish("0" * 32, folder, config)
        with pytest.raises(StoreError, match="connection refused") as error:
            tracker.finish_trial("0" * 32, "FAIL", "http://user:hunter2@127.0.0.1:9 is down")
        assert "hunter2" not in str(error.value)
        assert "hunter2" not in caplog.text

    def test_a_password_in_a_reason_is_masked(
        self, tracker: Tracker, tracking_uri: str, config: Config, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        run = tracker.start_trial(config, "train", 0)
        monkeypatch.setattr(tracker, "uri", "http://user:hunter2@host")
        tracker.finish_trial(run, "FAIL", "no answer from http://user:hunter2@host")
        tags = connect(tracking_uri).get_run(run).data.tags
        assert tags["metasweep.reason"] == "no answer from http://user:***@host"

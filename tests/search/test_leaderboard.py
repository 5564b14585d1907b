from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from search.config import Config
from search.errors import FailedError, UserError
from search.leaderboard import (
    COLUMNS,
    choose_problem,
    leaderboard,
    split_name,
    standing,
)
from search.records import EpisodeRecords, interval
from search.snapshot import Snapshot
from search.tracking import Tracker
from search.tracking_reader import Reader
from search.trial_folder import TrialFolder
from tests.search.conftest import MakeRow

# mlflow 3.17 maps its tables in a way that SQLAlchemy 2.1 deprecates.
pytestmark = pytest.mark.filterwarnings(
    "ignore:The ``noload`` loader strategy:sqlalchemy.exc.SADeprecationWarning"
)

KEYS = [
    *("rank", "algorithm", "network", "inner_steps"),
    *("validation_mean", "validation_ci95_low", "validation_ci95_high"),
    *("test_mean", "test_ci95_low", "test_ci95_high", "metric", "parameters"),
    *("train_seconds", "seconds_per_1000", "peak_memory_mb", "adaptation_ms"),
    *("episodes", "seed", "state", "confirmed", "failed_seeds", "published", "run_id"),
]


class TestRanking:
    def test_by_validation_and_never_by_test(self, row: MakeRow, config: Config) -> None:
        frame = pd.DataFrame([row("a", 0.3, 0.1), row("b", 0.1, 0.9), row("c", 0.2, 0.5)])
        board = leaderboard(frame, config.problem.hash)
        assert list(board["run_id"]) == ["b", "c", "a"]
        assert list(board["rank"]) == [1, 2, 3]
        assert list(leaderboard(frame, config.problem.hash, top=2)["run_id"]) == ["b", "c"]

    def test_the_best_published_default_is_always_shown(self, row: MakeRow, config: Config) -> None:
        frame = pd.DataFrame(
            [row("a", 0.3), row("b", 0.1), row("c", 0.4, published=True), row("d", 0.2)]
        )
        more = pd.concat([frame, pd.DataFrame([row("e", 0.5, published=True)])])
        more = more.assign(validation_baseline=math.nan, test_baseline=math.nan)
        found = standing(more, "first", top=2).ranked
        assert list(found["run_id"]) == ["b", "d", "c"]
        assert list(found["rank"]) == [1, 2, 4]
        assert list(found["published"]) == [False, False, True]
        assert list(standing(more, "first", top=4).ranked["rank"]) == [1, 2, 3, 4]
        assert list(leaderboard(more, config.problem.hash, top=2)["rank"]) == [1, 2]

    def test_the_best_without_meta_learning_is_always_shown(self, row: MakeRow) -> None:
        of = [("a", "maml"), ("b", "scratch"), ("c", "pretrain"), ("d", "scratch"), ("e", "maml")]
        frame = pd.DataFrame(
            [row(run, 0.1 * i, algorithm=name) for i, (run, name) in enumerate(of, 1)]
        ).assign(validation_baseline=math.nan, test_baseline=math.nan)
        assert list(standing(frame, "first", top=1).ranked["run_id"]) == ["a", "b", "c"]
        assert list(standing(frame, "first", top=2).ranked["rank"]) == [1, 2, 3]
        assert list(standing(frame, "first").ranked["rank"]) == [1, 2, 3, 4, 5]

    def test_accuracy_is_better_when_higher(self, row: MakeRow, accuracy: Config) -> None:
        frame = pd.DataFrame([row("a", 0.7, of=accuracy), row("b", 0.9, of=accuracy)])
        board = leaderboard(frame, accuracy.problem.hash)
        assert list(board["run_id"]) == ["b", "a"]
        assert list(board["metric"]) == ["query_accuracy"] * 2

    def test_ties_go_by_the_order_of_runs(self, row: MakeRow, config: Config) -> None:
        frame = pd.DataFrame([row(f"run{i}", 0.5, test=1 - i / 100) for i in range(50)])
        board = leaderboard(frame, config.problem.hash)
        assert list(board["run_id"]) == [f"run{i}" for i in range(50)]

    def test_only_finished_trials_and_trainings_with_a_number(
        self, row: MakeRow, config: Config
    ) -> None:
        frame = pd.DataFrame(
            [
                row("pruned", 0.01, state="PRUNED"),
                row("running", math.nan, state="RUNNING"),
                row("failed", 0.01, state="FAIL"),
                row("nan", math.nan),
                row("infinite", -math.inf),
                row("confirmation", 0.01, kind="confirmation", of_run="train"),
                row("train", 0.5, kind="train"),
                row("trial", 0.6),
            ]
        )
        assert list(leaderboard(frame, config.problem.hash)["run_id"]) == ["train", "trial"]

    def test_columns(self, row: MakeRow, config: Config) -> None:
        assert list(COLUMNS) == KEYS
        board = leaderboard(pd.DataFrame([row("a", 0.3)]), config.problem.hash)
        entry = board.iloc[0]
        assert list(board.columns) == KEYS
        assert entry["inner_steps"] == 2
        assert entry["parameters"]["maml/inner_lr"] == 0.01
        assert entry["parameters"]["mlp/activation"] == "relu"
        assert (entry["seed"], entry["episodes"], entry["state"]) == (7, 900, "COMPLETE")
        assert not entry["confirmed"]

    def test_inner_steps_of_training_where_there_is_no_other(
        self, row: MakeRow, config: Config
    ) -> None:
        other = replace(config, hyper={"inner_steps": 3})
        frame = pd.DataFrame([row("a", 0.3, of=other), row("b", 0.4, of=replace(other, hyper={}))])
        assert list(leaderboard(frame, config.problem.hash)["inner_steps"]) == [3, 0]


class TestProblems:
    def test_unequal_problems_are_never_mixed(self, row: MakeRow, config: Config) -> None:
        wider = replace(config, problem=replace(config.problem, query_shots=20))
        frame = pd.DataFrame(
            [row("a", 0.3), row("b", 0.1, of=wider), row("c", 0.2, of=wider), row("d", 0.4)]
        )
        assert list(leaderboard(frame, config.problem.hash)["run_id"]) == ["a", "d"]
        with pytest.raises(UserError) as caught:
            choose_problem(frame, "sinusoid-10shot")
        ours, theirs = config.problem.hash, wider.problem.hash
        assert str(caught.value).splitlines() == [
            "sinusoid-10shot stands for several problems. Only equal problems are ranked together; "
            "name one of:",
            f"  sinusoid-10shot@{ours[:8]}: 2 finished trials; query_shots 10",
            f"  sinusoid-10shot@{theirs[:8]}: 2 finished trials; query_shots 20",
        ]
        name, prefix = split_name(f"sinusoid-10shot@{theirs[:8]}")
        assert choose_problem(frame, name, prefix) == theirs
        with pytest.raises(UserError, match="has no problem @zzz"):
            choose_problem(frame, name, "zzz")

    def test_a_beginning_that_several_hashes_have(self, row: MakeRow) -> None:
        frame = pd.DataFrame([row("a", 0.3, problem_hash="f9c6"), row("b", 0.1)])
        frame.loc[1, "problem_hash"] = "f900"
        other = pd.DataFrame([row("c", 0.3, problem_hash="abcd")])
        with pytest.raises(UserError) as caught:
            choose_problem(pd.concat([frame, other]), "sinusoid", "f9")
        first, *listed = str(caught.value).splitlines()
        assert first.startswith("sinusoid@f9 stands for several problems.")
        assert [line.split(":")[0] for line in listed] == ["  sinusoid@f9c6", "  sinusoid@f900"]

    def test_a_problem_without_finished_trials_does_not_ask(
        self, row: MakeRow, config: Config
    ) -> None:
        wider = replace(config, problem=replace(config.problem, query_shots=20))
        frame = pd.DataFrame([row("a", 0.3), row("b", 0.1, of=wider, state="FAIL")])
        assert choose_problem(frame, "sinusoid-10shot") == config.problem.hash

    def test_one_problem_with_a_wrong_hash(self, row: MakeRow) -> None:
        with pytest.raises(UserError, match=r"has no problem @zzz(.|\n)*1 finished trials$"):
            choose_problem(pd.DataFrame([row("a", 0.3)]), "sinusoid-10shot", "zzz")

    def test_nothing_to_rank_says_what_there_is(self, row: MakeRow) -> None:
        states = ["PRUNED", "PRUNED", "RUNNING"]
        frame = pd.DataFrame([row(str(i), 0.3, state=state) for i, state in enumerate(states)])
        with pytest.raises(
            FailedError,
            match=r"no trial has finished.*\(2 pruned, 1 running\); wait .* resume first; see why",
        ):
            choose_problem(frame, "first")
        over = frame.iloc[:2]
        with pytest.raises(FailedError, match=r"\(2 pruned\); give a larger budget$"):
            choose_problem(over.assign(reason="pruned by successive halving"), "first")
        with pytest.raises(FailedError, match=r"the time limit ended them; .* budget.time_limit"):
            choose_problem(over.assign(reason="time limit reached at 8 episodes"), "first")
        with pytest.raises(FailedError, match="no trial was started yet"):
            choose_problem(frame.iloc[:0], "first")


class TestConfirmation:
    @pytest.fixture
    def frame(self, row: MakeRow) -> pd.DataFrame:
        again = {"kind": "confirmation", "of_run": "a"}
        return pd.DataFrame(
            [
                row("a", 0.3, 0.1),
                row("b", 0.4, 0.5),
                row("a1", 0.5, 0.6, **again),
                row("a2", 0.5, 0.8, test_ci95_low=0.7, test_ci95_high=0.9, **again),
                row("a3", 0.5, 9.0, state="FAIL", **again),
                row("a4", 0.5, math.inf, **again),
            ]
        )

    def test_replaces_the_number_that_selection_has_seen(
        self, frame: pd.DataFrame, config: Config
    ) -> None:
        board = leaderboard(frame, config.problem.hash)
        first = board.iloc[0]
        assert list(board["confirmed"]) == [True, False]
        assert list(board["failed_seeds"]) == [2, 0]
        assert first["test_mean"] == pytest.approx(0.7)
        assert first["test_ci95_low"] == pytest.approx(0.7 - 0.15)
        assert first["test_ci95_high"] == pytest.approx(0.7 + 0.15)
        assert first["validation_mean"] == 0.3
        assert board.iloc[1]["test_mean"] == 0.5

    def test_interval_over_episodes_averaged_over_seeds(
        self, frame: pd.DataFrame, config: Config
    ) -> None:
        draws = np.random.default_rng(0).normal(size=(2, 1000))
        values = {"a1": pd.Series(draws[0] + 0.6), "a2": pd.Series(draws[1] + 0.8)}
        board = leaderboard(
            frame, config.problem.hash, lambda runs, metric: [values[run] for run in runs]
        )
        expected = interval((values["a1"].to_numpy() + values["a2"].to_numpy()) / 2)
        assert board.iloc[0]["test_mean"] == pytest.approx(expected.mean)
        assert board.iloc[0]["test_ci95_low"] == pytest.approx(expected.ci95_low)

    def test_episodes_that_do_not_match_fall_back_to_the_runs(
        self, frame: pd.DataFrame, config: Config
    ) -> None:
        def short(runs: Sequence[str], metric: str) -> list[pd.Series]:
            return [pd.Series(np.zeros(999 if run == "a1" else 1000)) for run in runs]

        board = leaderboard(frame, config.problem.hash, short)
        assert board.iloc[0]["test_mean"] == pytest.approx(0.7)

    def test_of_another_problem_does_not_count(self, row: MakeRow, config: Config) -> None:
        wider = replace(config, problem=replace(config.problem, query_shots=20))
        frame = pd.DataFrame(
            [row("a", 0.3, 0.1), row("x", 0.3, 0.9, of=wider, kind="confirmation", of_run="a")]
        )
        board = leaderboard(frame, config.problem.hash)
        assert board.iloc[0]["test_mean"] == 0.1
        assert not board.iloc[0]["confirmed"]


def test_from_a_store(
    tracking_uri: str,
    tmp_path: Path,
    config: Config,
    snapshot: Snapshot,
    make_records: Callable[..., EpisodeRecords],
) -> None:
    tracker = Tracker(tracking_uri, tmp_path / "artifacts")
    search = tracker.start_search(config.problem, "first", {}, seed=0)
    inside: dict[str, Any] = {"search_name": "first", "search_run_id": search}

    def run(kind: Any, number: int, validation: float, shift: float, of: str | None = None) -> str:
        run_id = tracker.start_trial(config, kind, number, of_run=of, **inside)
        folder = TrialFolder(tmp_path / run_id)
        records = make_records("test", range(8), 900)
        records.loss_after[:] += shift
        folder.add([records])
        folder.seal(snapshot, config)
        assert tracker.publish(run_id, folder, config)
        test = interval(records.loss_after)
        numbers = {"validation_mean": validation, "test_mean": test.mean, "test_n": test.n}
        numbers |= {"test_ci95_low": test.ci95_low, "test_ci95_high": test.ci95_high}
        tracker.finish_trial(run_id, "COMPLETE", "", {**numbers, "episodes": 900})
        return run_id

    second = run("trial", 0, 0.5, 0.0)
    first = run("trial", 1, 0.4, 0.0)
    for number, shift in enumerate((1.0, 3.0)):
        run("confirmation", number, 0.1, shift, of=first)

    reader = Reader(tracking_uri)
    for name in ("first", "sinusoid-10shot"):
        frame = reader.trials(name)
        board = leaderboard(frame, choose_problem(frame, name), reader.test_values_of)
        assert list(board["run_id"]) == [first, second]
        assert list(board["confirmed"]) == [True, False]
        gain = board["test_mean"].iloc[0] - board["test_mean"].iloc[1]
        assert gain == pytest.approx(2.0)
        assert math.isnan(board["validation_ci95_low"].iloc[0])

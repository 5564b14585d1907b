"""Trainings that differ in their seed alone are one entry of a problem's leaderboard."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from search.comparison import over_seeds
from search.config import Config
from search.leaderboard import leaderboard
from search.records import interval
from search.repeated_trainings import as_one
from tests.search.conftest import MakeRow


@pytest.fixture
def frame(row: MakeRow, config: Config) -> pd.DataFrame:
    """A trial, and trainings: one with seeds of which one is lucky and one failed, and another."""
    one = [replace(config, seed=seed) for seed in range(5)]
    other = replace(config, hyper={**config.hyper, "inner_lr": 0.4321})
    lucky = {"validation_ci95_low": 0.0, "validation_ci95_high": 0.02}
    return pd.DataFrame(
        [
            row("trial", 0.3, 0.35, of=replace(config, seed=9)),
            row("s0", 0.5, 0.6, of=one[0], kind="train"),
            row("other", 0.32, 0.4, of=other, kind="train"),
            row("s1", 0.01, 0.1, of=one[1], kind="train", **lucky),
            row("s2 before", 0.0, 0.0, of=one[2], kind="train"),
            row("s2", 0.6, 0.5, of=one[2], kind="train", train_seconds=2.75, peak_memory_mb=90.0),
            row("s3", np.nan, np.nan, of=one[3], kind="train", state="FAIL", reason="diverged"),
            row("s4", 0.0, 0.0, of=one[4], kind="train", state="RUNNING"),
        ]
    )


def test_the_luckiest_seed_does_not_stand_for_all(frame: pd.DataFrame, config: Config) -> None:
    board = leaderboard(frame, config.problem.hash).set_index("run_id")
    assert list(board.index) == ["trial", "other", "s0"]
    merged = board.loc["s0"]
    assert merged["validation_mean"] == pytest.approx((0.5 + 0.01 + 0.6) / 3)
    half = (0.2 + 0.02 + 0.2) / 6
    assert merged["validation_ci95_high"] == pytest.approx(merged["validation_mean"] + half)
    assert merged["validation_ci95_low"] == pytest.approx(merged["validation_mean"] - half)
    assert merged["test_mean"] == pytest.approx((0.6 + 0.1 + 0.5) / 3)
    assert merged["train_seconds"] == pytest.approx((1.25 + 1.25 + 2.75) / 3)
    assert merged["peak_memory_mb"] == 90.0
    assert merged["confirmed"]
    assert merged["failed_seeds"] == 1
    assert list(board["confirmed"]) == [False, False, True]
    assert list(board["failed_seeds"]) == [0, 0, 1]


def test_meta_test_is_that_of_all_seeds_episode_by_episode(
    frame: pd.DataFrame, config: Config
) -> None:
    draws = dict(
        zip(("s0", "s1", "s2"), np.random.default_rng(0).normal(size=(3, 1000)), strict=True)
    )

    def read(runs: Sequence[str], metric: str) -> list[pd.Series]:
        return [pd.Series(draws[run]) for run in runs]

    board = leaderboard(frame, config.problem.hash, read).set_index("run_id")
    mean = np.mean(list(draws.values()), axis=0)
    expected = interval(mean)
    assert board.loc["s0", "test_mean"] == pytest.approx(expected.mean)
    assert board.loc["s0", "test_ci95_low"] == pytest.approx(expected.ci95_low)
    values = over_seeds(frame, read)
    assert values("s0", "query_loss").to_numpy() == pytest.approx(mean)


def test_a_seed_that_was_chosen_for_its_number_confirms_nothing(
    row: MakeRow, config: Config
) -> None:
    """`export` writes the seed of the best trial, and `train` begins with it."""
    other = replace(config, problem=replace(config.problem, query_shots=20))
    frame = pd.DataFrame(
        [
            row("trial", 0.1, 0.2),
            row("pruned", 0.1, 0.2, of=replace(config, seed=2), state="PRUNED"),
            *(
                row(f"s{seed}", 0.1 + seed, 0.2 + seed, of=replace(config, seed=seed), kind="train")
                for seed in (config.seed, 11, 12)
            ),
            row("chosen again", 0.1 + config.seed, 0.2, of=config, kind="train"),
            *(
                row(f"o{seed}", 0.5, 0.5, of=replace(other, seed=seed), kind="train")
                for seed in (config.seed, 11)
            ),
        ]
    )
    board = leaderboard(frame, config.problem.hash).set_index("run_id")
    assert list(board.index) == ["trial", "chosen again", "s11"]
    assert list(board["confirmed"]) == [False, False, True]
    assert board.loc["s11", "validation_mean"] == pytest.approx(11.6)
    assert board.loc["s11", "test_mean"] == pytest.approx(11.7)
    [elsewhere] = leaderboard(frame, other.problem.hash).to_dict("records")
    assert elsewhere["confirmed"]


def test_where_it_ran_makes_no_other_configuration(row: MakeRow, config: Config) -> None:
    there = replace(config.problem, options={"folder": "/there"})
    runs = [
        replace(config, seed=0),
        replace(config, seed=1, device="cuda:1", threads=4, formulation={"chunk": 3}),
        replace(config, seed=2, problem=there),
        replace(config, seed=3, episodes=config.episodes + 1),
        replace(config, seed=4, seeds=2),
    ]
    frame = pd.DataFrame([row(f"s{run.seed}", 0.1, of=run, kind="train") for run in runs])
    frame["problem_hash"] = config.problem.hash
    board = leaderboard(frame, config.problem.hash).set_index("run_id")
    assert board["confirmed"].to_dict() == {"s0": True, "s3": False, "s4": False}


def test_what_another_version_recorded_is_told_apart_by_all_that_is_known(row: MakeRow) -> None:
    old = [{"seed": str(seed), "gone": "1", "new": str(seed // 2)} for seed in range(4)]
    frame = pd.DataFrame(
        [row(f"s{i}", 0.1, kind="train", seed=i, params=params) for i, params in enumerate(old)]
    )
    assert list(as_one(frame)["kind"]) == ["train", "train", *["confirmation"] * 4]


def test_one_seed_that_went_well_confirms_nothing(row: MakeRow, config: Config) -> None:
    seeds = [replace(config, seed=seed) for seed in (0, 1)]
    frame = pd.DataFrame(
        [
            row("bad", np.nan, np.nan, of=seeds[0], kind="train", state="FAIL"),
            row("good", 0.3, 0.4, of=seeds[1], kind="train"),
        ]
    )
    [entry] = leaderboard(frame, config.problem.hash).to_dict("records")
    assert (entry["run_id"], entry["validation_mean"], entry["test_mean"]) == ("good", 0.3, 0.4)
    assert not entry["confirmed"]
    assert entry["failed_seeds"] == 1


def test_what_is_no_training_stays_as_it_is(row: MakeRow, config: Config) -> None:
    """Trials of two searches may be configured alike, and one may have been trained, too."""
    frame = pd.DataFrame(
        [
            row("a", 0.3, of=config),
            row("b", 0.4, of=replace(config, seed=1)),
            row("c", 0.5, of=config, kind="train"),
        ]
    )
    pd.testing.assert_frame_equal(as_one(frame), frame)
    alone = pd.DataFrame(
        [row("x", np.nan, kind="train", state="FAIL"), row("y", np.nan, kind="train", state="FAIL")]
    )
    pd.testing.assert_frame_equal(as_one(alone), alone)


def test_trainings_of_two_problems_stay_two(row: MakeRow, config: Config) -> None:
    wider = replace(config, problem=replace(config.problem, query_shots=20))
    frame = pd.DataFrame(
        [row("a", 0.3, kind="train"), row("b", 0.4, of=replace(wider, seed=1), kind="train")]
    )
    pd.testing.assert_frame_equal(as_one(frame), frame)

"""Fixtures of what is recorded: configurations, episodes, and a tracking store to send them to."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from search.config import Config, Problem
from search.records import EpisodeRecords, RecordSplit
from search.run_params import to_params
from search.snapshot import Snapshot

MakeRecords = Callable[..., EpisodeRecords]
MakeRow = Callable[..., dict[str, Any]]


@pytest.fixture
def config() -> Config:
    """A regression problem, small enough to count its episodes by hand."""
    problem = Problem(
        task="sinusoid",
        kind="regression",
        shots=10,
        query_shots=10,
        data_digest="0123abcd",
        rung_episodes=4,
        ranking_episodes=6,
        test_episodes=8,
    )
    hyper = {"inner_lr": 0.01, "inner_steps": 1, "inner_steps_evaluation": 2, "outer_lr": 0.001}
    settings: dict[str, Any] = {"width": 40, "depth": 2, "activation": "relu"}
    return Config(problem, "maml", "mlp", hyper, settings, episodes=900, rungs=(100, 300), seed=7)


@pytest.fixture
def snapshot() -> Snapshot:
    tensors = {
        "meta/weight": torch.arange(6.0).reshape(2, 3).T,
        "optimizer/exp_avg/weight": torch.arange(6.0).reshape(3, 2) / 7,
    }
    return Snapshot(tensors, {"episodes": 100, "train_seconds": 0.25})


@pytest.fixture
def make_records() -> MakeRecords:
    """make(split, indices, seen): rows with losses that depend on split, index and seed alone."""

    def make(
        split: RecordSplit,
        indices: range,
        seen: int,
        *,
        accuracy: bool = False,
        steps: int = 2,
        seed: int = 7,
    ) -> EpisodeRecords:
        count = len(indices)
        index = np.array(indices, dtype=np.int64)
        evaluated = split != "train"
        width = steps + 1 if evaluated else 0
        missing = np.full(count, np.nan)
        after = 0.5 + index / 1000 + len(split) / 100 + (seed - 7) / 16
        decay = np.linspace(3.0, 1.0, width) if evaluated else np.empty(0)
        curve = after[:, None] * decay
        return EpisodeRecords(
            split=np.full(count, split, dtype="U10"),
            index=index,
            seed=np.full(count, seed, dtype=np.int64),
            episodes_seen=np.full(count, seen, dtype=np.int64),
            seconds=np.full(count, 0.001),
            classes=np.tile(np.arange(5), (count, 1)) if accuracy else np.empty((count, 0), int),
            loss_before=3 * after if evaluated else missing,
            loss_after=after,
            score_before=missing + 0.2 if accuracy and evaluated else missing,
            score_after=np.full(count, 0.75) if accuracy else missing,
            loss_curve=curve,
            score_curve=1 - curve / 4 if accuracy else np.full_like(curve, np.nan),
        )

    return make


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MLflow database with nothing in it: making one takes seconds, copying it does not."""
    from search.tracking_client import connect

    path = tmp_path_factory.mktemp("mlflow") / "empty.db"
    connect(f"sqlite:///{path}")
    return path


@pytest.fixture
def tracking_uri(empty_store: Path, tmp_path: Path) -> str:
    """A SQLite tracking store of the test's own, in a folder with a space in its name."""
    folder = tmp_path / "a store"
    folder.mkdir()
    shutil.copy(empty_store, folder / "mlflow.db")
    return f"sqlite:///{folder / 'mlflow.db'}"


@pytest.fixture
def row(config: Config) -> MakeRow:
    """row(run_id, validation, test): a finished trial, as the reader gives it."""
    started: Iterator[int] = iter(range(1000))

    def make(
        run_id: str, validation: float, test: float = 1.0, of: Config = config, **changes: Any
    ) -> dict[str, Any]:
        return {
            "run_id": run_id,
            "started": next(started),
            "kind": "trial",
            "search": "first",
            "trial": 0,
            "state": "COMPLETE",
            "reason": "",
            "problem_hash": of.problem.hash,
            "algorithm": of.algorithm,
            "network": of.network,
            "seed": of.seed,
            "of_run": "",
            "published": False,
            "params": to_params(of),
            "validation_mean": validation,
            "validation_ci95_low": validation - 0.1,
            "validation_ci95_high": validation + 0.1,
            "validation_n": 600.0,
            "test_mean": test,
            "test_ci95_low": test - 0.2,
            "test_ci95_high": test + 0.2,
            "test_n": 1000.0,
            "episodes": 900.0,
            "train_seconds": 1.25,
            **changes,
        }

    return make


@pytest.fixture
def accuracy(config: Config) -> Config:
    problem = replace(config.problem, task="omniglot", kind="classification", ways=5)
    return replace(config, problem=problem, network="conv4", settings={"filters": 32})

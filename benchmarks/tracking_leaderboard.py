"""The leaderboard of 1,000 trials and 1,000,000 episodes, from the command line.

`python -m benchmarks.tracking --leaderboard`. The store is filled by the code that a search uses,
in one process and with numbers drawn at random: runs with all their parameters and tags, every
episode as metrics and as parquet files, summaries, a tenth of the trials pruned, and three
confirmations of each of the best five. Timed is `metasweep leaderboard NAME --format FORMAT` as a
process of its own, start and imports included. The goal is at most 3 seconds.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch

from benchmarks import report
from benchmarks.tracking_stores import store
from search.config import Config, Problem
from search.records import EpisodeRecords, RecordSplit, interval
from search.snapshot import Snapshot
from search.tracking import Kind, State, Tracker
from search.tracking_reader import Reader
from search.trial_folder import TrialFolder

NAME = "large"
TRIALS, RANKING, TEST = 1000, 400, 600
CONFIRMED, SEEDS = 5, 3
PRUNED_EVERY = 10
TURNS = 5
WORKERS = 2
"""Of an MLflow server: as many as `cluster.yaml` and `deploy/kubernetes` start."""

HEADER = ("store", "command", "seconds (median)", "slowest")
FORMATS = ("table", "json")
PROBLEM = Problem(
    "sinusoid",
    "regression",
    shots=10,
    query_shots=10,
    data_digest="benchmark",
    ranking_episodes=RANKING,
    test_episodes=TEST,
)


@dataclass(frozen=True)
class _Filled:
    run_id: str
    number: int
    mean: float


def measure(places: Mapping[str, Path], trials: int = TRIALS) -> list[list[str]]:
    """Fill each store and time the command; returns rows in the order of HEADER.

    places: a folder for each store, by the store's name.
    """
    rows = []
    for name, folder in places.items():
        with store(name, folder, WORKERS) as uri:
            began = time.perf_counter()
            fill(uri, folder, trials)
            filled = time.perf_counter() - began
            print(f"{name}: {trials} trials recorded in {filled:.0f} s", file=sys.stderr)
            for format_ in FORMATS:
                seconds = [_seconds(uri, folder, format_) for _ in range(TURNS)]
                cells = [report.significant(f(seconds)) for f in (statistics.median, max)]
                rows.append([name, f"metasweep leaderboard --format {format_}", *cells])
    return rows


def fill(uri: str, folder: Path, trials: int) -> None:
    """Record a search with that many trials, and the confirmations of its best."""
    tracker = Tracker(uri, folder / "artifacts")
    search_run = tracker.start_search(PROBLEM, NAME, {"name": NAME}, 0)
    writer = _Writer(tracker, search_run, folder / "trials")
    complete = []
    for number in range(trials):
        if number % PRUNED_EVERY == PRUNED_EVERY - 1:
            writer.record(number, "trial", "PRUNED")
        else:
            complete.append(writer.record(number, "trial", "COMPLETE"))
    for best in sorted(complete, key=lambda filled: filled.mean)[:CONFIRMED]:
        for seed in range(1, SEEDS + 1):
            writer.record(best.number, "confirmation", "COMPLETE", seed, best.run_id)
    # As the driver does at the end, before it writes the results.
    Reader(uri)
    tracker.finish_search(search_run, "COMPLETE")


class _Writer:
    """Records trials of one search."""

    def __init__(self, tracker: Tracker, search_run: str, folder: Path):
        self._tracker = tracker
        self._search_run = search_run
        self._folder = folder
        self._rng = np.random.default_rng(0)

    def record(
        self, number: int, kind: Kind, state: State, seed: int = 0, of_run: str | None = None
    ) -> _Filled:
        """Record one run with all its episodes; a pruned one has no summaries of them."""
        config = replace(_config(self._rng), seed=seed)
        run_id = self._tracker.start_trial(
            config,
            kind,
            number,
            search_name=NAME,
            search_run_id=self._search_run,
            of_run=of_run,
        )
        parts = {"validation": self._records("validation", RANKING, seed)}
        parts["test"] = self._records("test", TEST, seed)
        trial = TrialFolder(self._folder / f"{kind}-{number}-{seed}")
        trial.add(parts.values())
        trial.seal(Snapshot({"meta/w": torch.zeros(1)}, {"history": []}), config)
        summaries = {"episodes": 1e4, "train_seconds": 60.0, "peak_memory_mb": 300.0}
        summaries["adaptation_ms"] = 1.0
        reason = "" if state == "COMPLETE" else "diverged: the training loss is not finite"
        if state == "COMPLETE":
            for split, records in parts.items():
                found = asdict(interval(records.loss_after))
                summaries |= {f"{split}_{key}": value for key, value in found.items()}
        if not self._tracker.publish(run_id, trial, config, ended=True):
            raise RuntimeError("the store did not take a trial; see the warning above")
        self._tracker.finish_trial(run_id, state, reason, summaries)
        return _Filled(run_id, number, float(parts["validation"].loss_after.mean()))

    def _records(self, split: RecordSplit, count: int, seed: int) -> EpisodeRecords:
        unmeasured = np.full(count, np.nan)
        return EpisodeRecords(
            split=np.full(count, split),
            index=np.arange(count),
            seed=np.full(count, seed),
            episodes_seen=np.full(count, 10_000),
            seconds=np.full(count, 1e-3),
            classes=np.zeros((count, 0), dtype=np.int64),
            loss_before=self._rng.random(count),
            loss_after=self._rng.random(count),
            score_before=unmeasured,
            score_after=unmeasured,
            loss_curve=self._rng.random((count, 6)),
            score_curve=np.full((count, 6), np.nan),
        )


def _config(rng: np.random.Generator) -> Config:
    hyper: dict[str, float | int | str | bool] = {"inner_lr": float(rng.random())}
    hyper |= {"inner_steps": 1, "inner_steps_evaluation": 5}
    hyper |= {"outer_lr": 1e-3, "outer_optimizer": "adam", "meta_batch_size": 25, "clip_norm": 10.0}
    settings: dict[str, float | int | str | bool] = {"depth": 2, "width": 40, "activation": "relu"}
    return Config(PROBLEM, "maml", "mlp", hyper, settings, episodes=10_000)


def _seconds(uri: str, folder: Path, format_: str) -> float:
    """Return how long the command takes, from start to end. Raises where it fails."""
    command = [sys.executable, "-m", "search", "leaderboard", NAME, "--format", format_]
    command += ["--tracking-uri", uri, "--output", str(folder / f"board.{format_}")]
    began = time.perf_counter()
    subprocess.run(command, check=True)
    return time.perf_counter() - began

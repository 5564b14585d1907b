"""Trials whose episodes are sealed on disk, ready to be recorded, and three ways to record them."""

from __future__ import annotations

import itertools
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import mlflow
import numpy as np
import torch

from search.config import Config, Problem
from search.episode_metrics import episode_metrics
from search.records import EpisodeRecords, RecordSplit
from search.snapshot import Snapshot
from search.tracking import Tracker
from search.trial_folder import TrialFolder

WAYS, STEPS, RUNGS = 5, 5, 3
SHARD_EPISODES = 1000
EVALUATED = tuple(
    f"query_{what}_{when}" for what in ("loss", "accuracy") for when in ("before", "after")
)
"""The metrics of an episode that is evaluated."""


@dataclass(frozen=True)
class Recorded:
    """What was recorded, and in how many seconds."""

    metrics: int
    episodes: int
    seconds: float


def config(number: int, episodes: int) -> Config:
    """Return an Omniglot configuration with that many training episodes and three rungs."""
    return Config(
        Problem("omniglot", "classification", 1, 15, WAYS, data_digest="benchmark"),
        algorithm="maml",
        network="conv4",
        hyper={"inner_lr": 0.4, "inner_steps": 1, "inner_steps_evaluation": STEPS},
        settings={"filters": 64},
        episodes=episodes,
        rungs=tuple(episodes // 2**i for i in range(RUNGS, 0, -1)),
        seed=number,
    )


def sealed(folder: Path, config: Config) -> TrialFolder:
    """Write a trial's folder as training leaves it, with numbers drawn at random."""
    trial = TrialFolder(folder)
    rng = np.random.default_rng(config.seed)
    snapshot = Snapshot({"meta/w": torch.zeros(1)}, {"episodes": 0, "history": []})
    problem, seen = config.problem, 0
    for milestone in (*config.rungs, config.episodes):
        while seen < milestone:
            count = min(SHARD_EPISODES, milestone - seen)
            trial.add([_records("train", seen, count, seen, config.seed, rng)])
            seen += count
            trial.seal(snapshot, config)
        if seen in config.rungs:
            trial.add([_records("rung", 0, problem.rung_episodes, seen, config.seed, rng)])
            trial.seal(snapshot, config)
    trial.add([_records("validation", 0, problem.ranking_episodes, seen, config.seed, rng)])
    trial.add([_records("test", 0, problem.test_episodes, seen, config.seed, rng)])
    trial.seal(snapshot, config)
    return trial


def ours(tracker: Tracker, run_id: str, trial: TrialFolder, config: Config) -> Recorded:
    """Publish a trial as its process does: every metric, and the parquet files as artifacts."""
    began = time.perf_counter()
    if not tracker.publish(run_id, trial, config, ended=True):
        raise RuntimeError("the store did not take the episodes; see the warning above")
    seconds = time.perf_counter() - began
    table = trial.table()
    return Recorded(sum(1 for _ in episode_metrics(table, config)), len(table), seconds)


def plain(uri: str, run_id: str, trial: TrialFolder, config: Config, seconds: float) -> Recorded:
    """Send the same metrics by `MlflowClient.log_metric`, one at a time, for so many seconds."""
    client = mlflow.MlflowClient(uri)
    rows = itertools.cycle(episode_metrics(trial.table(), config))
    sent = 0

    def send() -> None:
        nonlocal sent
        row = next(rows)
        client.log_metric(run_id, row.key, row.value, step=row.step)
        sent += 1

    taken = _repeat(send, seconds)
    return Recorded(sent, sent // len(EVALUATED), taken)


def callback(uri: str, trials: int, seconds: float) -> Recorded:
    """Hand results to Ray's MLflowLoggerCallback, as Tune's driver does, for so many seconds.

    A result is one evaluated episode: its four metrics, and the iteration, which Tune always adds.
    The driver is one process, whatever the number of trials: they take turns.
    """
    from ray.air.integrations.mlflow import MLflowLoggerCallback
    from ray.tune.experiment import Trial

    logger = MLflowLoggerCallback(tracking_uri=uri, experiment_name="ray-callback")
    logger.setup()
    running = [Trial("recorded", stub=True, config={"seed": seed}) for seed in range(trials)]
    for trial in running:
        logger.log_trial_start(trial)
    rng = np.random.default_rng(0)
    results = 0

    def send() -> None:
        nonlocal results
        iteration = results // trials + 1
        values = rng.random(len(EVALUATED))
        result = {k: float(v) for k, v in zip(EVALUATED, values, strict=True)}
        result["training_iteration"] = iteration
        logger.log_trial_result(iteration, running[results % trials], result)
        results += 1

    taken = _repeat(send, seconds)
    for trial in running:
        logger.log_trial_end(trial)
    return Recorded((len(EVALUATED) + 1) * results, results, taken)


def _repeat(call: Callable[[], None], seconds: float) -> float:
    """Call until that many seconds have passed; return how many really have."""
    began = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        while time.perf_counter() - began < seconds:
            call()
    return time.perf_counter() - began


def _records(
    split: RecordSplit, first: int, count: int, seen: int, seed: int, rng: np.random.Generator
) -> EpisodeRecords:
    training = split == "train"
    unmeasured = np.full(count, np.nan)
    curve = np.zeros((count, 0)) if training else rng.random((count, STEPS + 1))
    return EpisodeRecords(
        split=np.full(count, split),
        index=np.arange(first, first + count),
        seed=np.full(count, seed),
        episodes_seen=np.arange(seen, seen + count) if training else np.full(count, seen),
        seconds=np.full(count, 1e-2),
        classes=rng.integers(0, 1000, (count, WAYS)),
        loss_before=unmeasured if training else rng.random(count),
        loss_after=rng.random(count),
        score_before=unmeasured if training else rng.random(count),
        score_after=rng.random(count),
        loss_curve=curve,
        score_curve=curve,
    )

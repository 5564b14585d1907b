"""What recording takes of a real trial's time: `python -m benchmarks.tracking --share`.

MAML on Omniglot with Conv4-64 (5-way 1-shot, 5 steps at evaluation) is trained and judged as in a
search, with its default numbers of evaluation episodes but few training episodes, which makes
recording weigh more than in a search. What it has sealed is then published into each store by the
same code, and timed. In a search that happens in a thread of its own beside the training, so that
the share is an upper bound. Needs the images in the folder that METASWEEP_DATA names. The goal is
below 2 %.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import episodes
from benchmarks import report, tracking_trials
from benchmarks.tracking_stores import store
from search.config import Config
from search.run_job import run_job
from search.tracking import Tracker
from search.trial_folder import TrialFolder
from spaces.algorithms import ALGORITHM_SPACES
from spaces.networks import NETWORK_SPACES

HEADER = ("store", "episodes", "metrics", "trial, s", "publishing, s", "share, %")


def measure(places: Mapping[str, Path], training_episodes: int) -> list[list[str]]:
    """Train once and publish into each store; returns rows in the order of HEADER.

    places: a folder for each store, by the store's name.
    """
    rows = []
    trial, config, seconds = _trained(next(iter(places.values())) / "trial", training_episodes)
    for name, folder in places.items():
        with store(name, folder / "store") as uri:
            tracker = Tracker(uri, folder / "artifacts")
            run_id = tracker.start_trial(config, "train", 0)
            done = tracking_trials.ours(tracker, run_id, trial, config)
        counts = [str(done.episodes), str(done.metrics)]
        share = 100 * done.seconds / seconds
        times = [report.significant(value) for value in (seconds, done.seconds, share)]
        rows.append([name, *counts, *times])
    return rows


def _trained(folder: Path, training_episodes: int) -> tuple[TrialFolder, Config, float]:
    """Run a trial as a search does; returns its folder, and the seconds it took."""
    config = tracking_trials.config(0, training_episodes)
    problem = config.problem
    data = os.environ.get("METASWEEP_DATA")
    distribution = episodes.load(
        problem.task,
        ways=problem.ways,
        shots=problem.shots,
        query_shots=problem.query_shots,
        data=data,
    )
    hyper = dict(ALGORITHM_SPACES["maml"].defaults["classification"])
    hyper["inner_steps_evaluation"] = tracking_trials.STEPS
    config = replace(
        config,
        problem=replace(problem, data_digest=distribution.digest),
        hyper=hyper,
        settings={**NETWORK_SPACES["conv4"].defaults["classification"], "filters": 64},
    )
    trial = TrialFolder(folder)
    began = time.perf_counter()
    for progress in run_job(config, distribution, trial, _publish_nothing, by="benchmark"):
        print(f"{progress.phase} at {progress.episodes} episodes", end="\r", file=sys.stderr)
    if progress.phase != "final":
        raise RuntimeError(f"the trial ended as {progress.phase}: {progress.reason}")
    return trial, config, time.perf_counter() - began


def _publish_nothing(folder: TrialFolder, *, ended: bool) -> None:
    """Leave what was sealed for later."""

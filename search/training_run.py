"""Training one configuration outside of any search, recorded as a trial is."""

from __future__ import annotations

import functools
import logging
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from episodes.episode import TaskDistribution
from search.config import Config
from search.errors import FailedError, StoreError, UserError
from search.jobs import Progress
from search.run_file import Run, RunFile
from search.run_job import run_job
from search.study import State
from search.tracking import Tracker
from search.trial_folder import TrialFolder

log = logging.getLogger("metasweep")


@dataclass(frozen=True)
class Trained:
    """A finished training: its run, its folder, which holds the checkpoint, and its last word."""

    config: Config
    run_id: str
    folder: TrialFolder
    progress: Progress


def train_recorded(
    config: Config,
    distribution: TaskDistribution,
    tracker: Tracker,
    storage: Path,
    listen: Callable[[Progress], None],
) -> Trained:
    """Train a configuration to its end, in a folder of its own under `<storage>/train`.

    An interrupted training goes on where it was, and a finished one is not run again. Raises
    FailedError when it diverges or fails, with the reason, and UserError where another process
    trains the same.
    """
    folder = TrialFolder(storage.expanduser().absolute() / "train" / config.hash)
    folder.path.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder.path / "train.lock")
    try:
        with lock.acquire(timeout=0):
            return _trained(config, distribution, tracker, folder, listen)
    except Timeout:
        raise UserError(
            f"seed {config.seed}: is being trained already, by another process, in {folder.path}"
        ) from None


def _trained(
    config: Config,
    distribution: TaskDistribution,
    tracker: Tracker,
    folder: TrialFolder,
    listen: Callable[[Progress], None],
) -> Trained:
    run_id = _run_of(config, tracker, folder.path)
    publish = functools.partial(tracker.publish, run_id, config=config)
    progress = Progress("failed", 0, reason="nothing was trained")
    for progress in run_job(config, distribution, folder, publish, by=uuid.uuid4().hex):
        listen(progress)
    state: State = "COMPLETE" if progress.phase == "final" else "FAIL"
    try:
        tracker.finish_trial(run_id, state, progress.reason, progress.summaries)
    except StoreError as error:
        log.warning("%s\nRun %s could not be closed as %s.", error, run_id, state)
    if state == "FAIL":
        raise FailedError(f"seed {config.seed}: {progress.phase}: {progress.reason}")
    return Trained(config, run_id, folder, progress)


def _run_of(config: Config, tracker: Tracker, folder: Path) -> str:
    """Return the MLflow run of this folder in this store, a new one the first time."""
    file = RunFile(folder, tracker.uri)
    run = file.read()
    if run is None:
        run = Run(tracker.start_trial(config, "train", 0))
        file.write(run)
    return run.id

"""The Ray Tune trainable: one actor that runs job after job."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ray import tune

from episodes import DataError
from search.distribution import distribution_of
from search.errors import UserError
from search.house import check_house
from search.jobs import Job, Progress
from search.run_job import run_job
from search.tracking import Tracker
from search.trial_folder import TrialFolder
from search.user_code import extend_path

JOB, PROGRESS = "job", "progress"


class TrialActor(tune.Trainable):
    """Runs the job in its configuration; every `step` returns one `Progress`.

    Checkpoints are sealed in the job's own folder, so Tune keeps none: wherever the job is started
    again, it goes on from there. Data, once loaded, are kept for the jobs that follow.
    """

    def setup(self, config: dict[str, Any]) -> None:
        """Start the job; `config` also names the tracking URI, the data folder and the path.

        Ray's workers import from the driver's current folder; the rest of its path, such as
        PYTHONPATH, a cluster that was started elsewhere does not know.
        """
        extend_path(config["path"])
        check_house()
        self._data = config["data"]
        self._tracker = Tracker(config["tracking_uri"], None)
        self._steps = self._start(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Start another job in the same process."""
        self._steps = self._start(new_config)
        return True

    def step(self) -> dict[str, Any]:
        """Run until the job tells of itself."""
        progress = next(self._steps)
        return {PROGRESS: progress.to_json(), "done": progress.ended}

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Save nothing: the job's folder holds its checkpoints."""

    def load_checkpoint(self, checkpoint: Any) -> None:
        """Load nothing: the job goes on from its folder."""

    def _start(self, config: dict[str, Any]) -> Iterator[Progress]:
        job = Job.from_json(config[JOB])
        try:
            distribution = distribution_of(job.config.problem, self._data)
        except (UserError, DataError) as error:
            return iter([Progress("failed", 0, reason=str(error))])
        publish = functools.partial(self._tracker.publish, job.run_id, config=job.config)
        return run_job(job.config, distribution, TrialFolder(Path(job.folder)), publish)

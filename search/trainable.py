"""The Ray Tune trainable: one actor that runs job after job."""

from __future__ import annotations

import functools
from collections.abc import Generator
from pathlib import Path
from typing import Any

import ray
from ray import tune

from search.distribution import distribution_of
from search.errors import UserError
from search.house import check_house
from search.jobs import Job, Progress
from search.node import Expected, unfit
from search.publisher import Publisher
from search.run_job import HUNG, failure, run_job
from search.tracking import Tracker
from search.trial_folder import TrialFolder
from search.user_code import extend_path
from search.watchdog import Watchdog

JOB, PROGRESS, WANTED, SHARED = "job", "progress", "wanted", "shared"
LAST_WORDS_SECONDS = 5.0


class TrialActor(tune.Trainable):
    """Runs the job in its configuration; every `step` returns one `Progress`.

    Checkpoints are sealed in the job's own folder, so Tune keeps none: wherever the job is started
    again, it goes on from there. Data, once loaded, are kept for the jobs that follow.
    """

    @classmethod
    def default_resource_request(cls, config: dict[str, Any]) -> tune.PlacementGroupFactory:
        """Return what Ray must set aside for the job."""
        return tune.PlacementGroupFactory([config[WANTED]])

    def setup(self, config: dict[str, Any], tracking_uri: str = "") -> None:
        """Start the job; `config[SHARED]` is what `search.driver` tells all of them.

        Ray's workers import from the driver's current folder; the rest of its path, such as
        PYTHONPATH, a cluster that was started elsewhere does not know.
        """
        shared = config[SHARED]
        extend_path(shared["path"])
        self._driver, self._data = shared["driver"], shared["data"]
        self._timeout = shared["timeout"]
        self._publisher = Publisher(Tracker(tracking_uri, None))
        self._unfit = _unfit(Expected.from_json(shared["expected"]))
        self._steps = self._start(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Start another job in the same process."""
        self._steps.close()
        self._watchdog.close()
        self._steps = self._start(new_config)
        return True

    def step(self) -> dict[str, Any]:
        """Run until the job tells of itself; a process in which it hangs ends itself."""
        with self._watchdog:
            progress = next(self._steps)
        return {PROGRESS: progress.to_json(), "done": progress.ended}

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Save nothing: the job's folder holds its checkpoints."""

    def load_checkpoint(self, checkpoint: Any) -> None:
        """Load nothing: the job goes on from its folder."""

    def cleanup(self) -> None:
        """Send what can be sent quickly; the driver sends the rest."""
        self._watchdog.close()
        self._publisher.close(LAST_WORDS_SECONDS)

    def _start(self, config: dict[str, Any]) -> Generator[Progress, None, None]:
        job = Job.from_json(config[JOB])
        self._folder = Path(job.folder)
        self._watchdog = Watchdog(self._timeout, self._folder / HUNG)
        return self._run(job)

    def _run(self, job: Job) -> Generator[Progress, None, None]:
        if self._unfit:
            yield Progress("blocked", 0, reason=self._unfit)
            return
        try:
            distribution = distribution_of(job.config.problem, self._data)
        except Exception as error:
            yield failure(error, self._folder)
            return
        publish = functools.partial(self._publisher.publish, config=job.config)
        folder = TrialFolder(self._folder)
        yield from run_job(
            job.config, distribution, folder, publish, by=self._driver, room=job.room
        )


def _unfit(expected: Expected) -> str:
    try:
        check_house()
    except UserError as error:
        return str(error)
    return unfit(expected, ray.get_runtime_context().get_node_id())

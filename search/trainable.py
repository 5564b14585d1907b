"""The Ray Tune trainable: one actor that runs job after job."""

from __future__ import annotations

import functools
from collections.abc import Generator
from pathlib import Path
from typing import Any

from search.garbage import collector_paused

with collector_paused(for_good=True):
    import ray
    from ray import tune
    from ray.util.placement_group import NODE_ID_LABEL_KEY

    from episodes import DataError
    from episodes.episode import TaskDistribution
    from search.building import resolve_learner
    from search.config import Config
    from search.distribution import distribution_of
    from search.errors import UserError
    from search.house import check_house
    from search.jobs import Job, Progress
    from search.node import Expected, placed, unfit
    from search.publisher import Publisher
    from search.run_job import HUNG, failure, run_job
    from search.tracking import Tracker
    from search.trial_folder import TrialFolder
    from search.user_code import extend_path
    from search.watchdog import Watchdog

JOB, PROGRESS, WANTED, SHARED = "job", "progress", "wanted", "shared"
NODE, UNFIT_NODES = "node", "unfit_nodes"
LAST_WORDS_SECONDS = 5.0


class TrialActor(tune.Trainable):
    """Runs the job in its configuration; every `step` returns one `Progress`.

    Checkpoints are sealed in the job's own folder, so Tune keeps none: wherever the job is started
    again, it goes on from there. Data, once loaded, are kept for the jobs that follow.
    """

    @classmethod
    def default_resource_request(cls, config: dict[str, Any]) -> tune.PlacementGroupFactory:
        """Return what Ray must set aside for the job, and on which nodes never."""
        nodes = config[UNFIT_NODES]
        if not nodes:
            return tune.PlacementGroupFactory([config[WANTED]])
        elsewhere = {NODE_ID_LABEL_KEY: f"!in({','.join(nodes)})"}
        return tune.PlacementGroupFactory([config[WANTED]], bundle_label_selector=[elsewhere])

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
        self._expected = Expected.from_json(shared["expected"])
        self._node = ray.get_runtime_context().get_node_id()
        self._unfit = _unfit(self._expected, self._node)
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
        return {PROGRESS: progress.to_json(), NODE: self._node, "done": progress.ended}

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
            yield Progress("unfit", 0, reason=self._unfit)
            return
        try:
            distribution = self._load(job.config)
        except Exception as error:
            yield self._not_loaded(error, job.config)
            return
        publish = functools.partial(self._publisher.publish, config=job.config)
        folder = TrialFolder(self._folder)
        yield from run_job(
            job.config,
            distribution,
            folder,
            publish,
            by=self._driver,
            room=job.room,
            measured=job.measured,
        )

    def _load(self, config: Config) -> TaskDistribution:
        """Load the data, and what of the learner is a user's own."""
        distribution = distribution_of(config.problem, self._data)
        resolve_learner(config)
        return distribution

    def _not_loaded(self, error: Exception, config: Config) -> Progress:
        """Blame the node for what the driver found in order, unless it is the driver's own.

        A job that was begun on other data than the driver has now finds them on no node.
        """
        told = failure(error, self._folder)
        own = self._node == self._expected.node
        outdated = config.problem.data_digest != self._expected.data_digest
        if own or outdated or not isinstance(error, UserError | DataError):
            return told
        return Progress("unfit", 0, reason=placed([told.reason]))


def _unfit(expected: Expected, node: str) -> str:
    try:
        check_house()
    except UserError as error:
        return placed([str(error)])
    return unfit(expected, node)

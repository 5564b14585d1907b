"""What Ray Tune takes of the driver's thread, for each report and each trial."""

from __future__ import annotations

import json
import os
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import ray

from benchmarks.scale_actor import TellingActor
from benchmarks.scale_search import Nobody, halving, specification
from search import ray_cluster
from search.conductor import Conductor, Plan
from search.driver import drive
from search.node import Expected
from search.ray_alone import few_processes
from search.room import Resources
from search.sampling import load_problem, sampler_of
from search.study import REASON, SearchStudy

FEW, MANY = 5, 40
TURNS = 3
RATE = 60.0
"""Reports a second that are asked of the driver, well below what it can take."""


@dataclass(frozen=True)
class Taken:
    """Milliseconds of processor time of the driver's thread, without the conductor's.

    processes: trials at once. report_ms: each report. trial_ms: each trial beside its reports, and
        its share of what a search takes once.
    """

    processes: int
    report_ms: float
    trial_ms: float


def measure(processes: int) -> Taken:
    """Run two searches on this machine, with few and many reports a trial."""
    with processors(processes):
        trials = TURNS * processes
        few, many = (_seconds(trials, reports, processes) for reports in (FEW, MANY))
    report = (many - few) / (trials * (MANY - FEW))
    return Taken(processes, 1e3 * report, 1e3 * (few / trials - FEW * report))


@contextmanager
def processors(count: int) -> Iterator[None]:
    """Start Ray on this machine as if it had so many processors."""
    for name, value in ray_cluster.SETTINGS.items():
        os.environ.setdefault(name, value)
    with few_processes():
        ray.init(
            address="local",
            runtime_env={"env_vars": {"PYTHONPATH": str(Path(__file__).parents[1])}},
            num_cpus=count,
            include_dashboard=False,
            log_to_driver=False,
            logging_level="ERROR",
        )
    try:
        yield
    finally:
        ray.shutdown()


def _seconds(trials: int, reports: int, processes: int) -> float:
    """Run a search; return the seconds of this thread that Tune took."""
    spec = specification(trials)
    problem, distribution = load_problem(spec, None)
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{Path(folder) / 'study.db'}"
        study = SearchStudy(uuid.uuid4().hex, url, "minimize", halving(spec), spec.seed)
        nobody, spent = Nobody(), [0.0]
        conductor = Conductor(
            Plan(trials, None, 0, 0, processes),
            study,
            nobody,
            nobody,
            Path(folder),
            sampler_of(spec, problem, distribution),
            time.monotonic,
        )

        def timed(call: Callable[..., Any], *arguments: Any) -> Any:
            began = time.thread_time()
            try:
                return call(*arguments)
            finally:
                spent[0] += time.thread_time() - began

        # Such a trial records nothing; where it would, it reads what it is to do.
        instead = json.dumps({"reports": reports, "pause": processes / RATE})
        expected = Expected(ray_cluster.own_node(), folder, "", None, "", {}, [])
        with (
            mock.patch.object(conductor, "next_job", partial(timed, conductor.next_job)),
            mock.patch.object(conductor, "told", partial(timed, conductor.told)),
        ):
            began = time.thread_time()
            drive(conductor, Resources(1, 0), instead, expected, None, TellingActor)
            taken = time.thread_time() - began
        ends = Counter((t.state.name, t.user_attrs.get(REASON, "")) for t in study.trials())
        if ends != {("COMPLETE", ""): trials}:
            raise RuntimeError(f"not every trial of {trials} ended well: {ends}")
        return taken - spent[0]

"""Starts a search, or goes on with one, and brings it to its end."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from search.conductor import Conductor, Plan
from search.config import Config, Problem
from search.driver import Resources, drive, refuse_local_store, room_for, start_ray, stop_ray
from search.errors import UserError
from search.fitting import check_fits
from search.jobs import Kind
from search.progress import LiveDisplay
from search.results import write_results
from search.sampling import load_problem, sampler_of
from search.search_folder import MASK, SearchFolder, SearchRecord, free_name
from search.settle import settle
from search.spec import Spec, parse_spec
from search.study import Halving, SearchStudy, State
from search.tracking import Tracker
from search.tracking_client import mask
from search.tracking_reader import Reader


@dataclass(frozen=True)
class Outcome:
    """How a search stands when its driver ends."""

    name: str
    problem: Problem
    tracking_uri: str
    interrupted: bool


@dataclass(frozen=True)
class _Recorder:
    """What the conductor needs of a `Tracker`, for one search."""

    tracker: Tracker
    search_name: str
    search_run_id: str

    def start(self, kind: Kind, number: int, config: Config, confirms: str | None) -> str:
        return self.tracker.start_trial(
            config,
            kind,
            number,
            search_name=self.search_name,
            search_run_id=self.search_run_id,
            of_run=confirms,
        )

    def finish(self, run_id: str, state: State, reason: str, summaries: dict[str, float]) -> None:
        self.tracker.finish_trial(run_id, state, reason, summaries)


def start(
    spec: Spec,
    *,
    tracking_uri: str,
    storage: Path,
    data: str | None,
    named: bool,
    console: Console,
) -> Outcome:
    """Run a new search.

    named: whether the user chose the name; otherwise a number is added when it is in use.
    Raises UserError before any compute is spent when the name is in use, the store cannot be
    reached, or the data are unfit.
    """
    began = time.monotonic()
    tracker = Tracker(tracking_uri, storage.expanduser().absolute() / "artifacts")
    reader = Reader(tracking_uri)
    name = spec.name if named else free_name(storage, spec.name, reader.find_search)
    folder = SearchFolder(storage, name)
    if folder.exists or reader.find_search(name) is not None:
        where = folder.path if folder.exists else "the tracking store"
        raise UserError(
            f"--name: {name}: in use by a search in {where}; give another --name, "
            f"or go on with that one: metasweep resume {name}"
        )
    problem, distribution = load_problem(spec, data)
    check_fits(spec, problem, distribution)
    resolved = spec.resolved() | {"name": name}
    with folder.locked(), _ray(tracker, name, problem, console):
        run_id = tracker.start_search(problem, name, resolved, spec.seed)
        record = SearchRecord(resolved, run_id, mask(tracking_uri, tracking_uri), data)
        folder.write(record)
        return _drive(spec, folder, record, tracker, console, began)


def resume(
    name: str,
    *,
    tracking_uri: str | None,
    storage: Path,
    data: str | None,
    time_limit: float | None,
    console: Console,
) -> Outcome:
    """Go on with an interrupted search: its running trials first, then what is left of its budget.

    time_limit: seconds from now; None for what is left of the search's own.
    Raises UserError when there is no such search, it has ended, or another driver works on it.
    """
    began = time.monotonic()
    folder = SearchFolder(storage, name)
    if not folder.path.exists():
        folder.read()  # Refuses an unknown name before the lock makes a folder of it.
    with folder.locked():
        record = folder.read()
        if record.state == "COMPLETE":
            raise UserError(
                f"{name}: has ended; see it with: metasweep leaderboard {name}, "
                "or start another with --name"
            )
        uri = tracking_uri or record.tracking_uri
        if MASK in uri:
            raise UserError(f"--tracking-uri: {uri}: give it again, with its password")
        spec = parse_spec(record.spec)
        if time_limit is not None:
            elapsed = record.elapsed
            budget = spec.budget.model_copy(update={"time_limit": elapsed + time_limit})
            spec = spec.model_copy(update={"budget": budget})
        record = SearchRecord(
            record.spec, record.run_id, record.tracking_uri, data or record.data, record.elapsed
        )
        tracker = Tracker(uri, storage.expanduser().absolute() / "artifacts")
        Reader(uri)
        problem, _ = load_problem(spec, record.data)
        with _ray(tracker, name, problem, console):
            return _drive(spec, folder, record, tracker, console, began)


@contextmanager
def _ray(tracker: Tracker, name: str, problem: Problem, console: Console) -> Iterator[None]:
    """Start Ray, or connect to the cluster, before anything is recorded; leave it at the end."""
    console.print(f"[dim]starting Ray for search {name} on {problem.name} ...[/dim]")
    try:
        start_ray()
        refuse_local_store(tracker.uri)
        yield
    finally:
        stop_ray()


def _drive(
    spec: Spec,
    folder: SearchFolder,
    record: SearchRecord,
    tracker: Tracker,
    console: Console,
    began: float,
) -> Outcome:
    problem, distribution = load_problem(spec, record.data)
    study = SearchStudy(
        folder.name,
        folder.study_url(spec.study_url),
        problem.direction,
        Halving(spec.first_rung, spec.budget.reduction_factor),
        spec.seed,
    )
    space = spec.search_space()
    for network in spec.networks:
        for algorithm in spec.algorithms:
            study.enqueue(space.defaults(algorithm, network))
            if spec.recipes:
                for parameters in space.points(algorithm, network).values():
                    study.enqueue(parameters, reference=False)
    resources = Resources(spec.resources.cpu, spec.resources.gpu)
    limit = spec.budget.time_limit
    left = None if limit is None else max(0.0, limit - record.elapsed)
    try:
        plan = Plan(
            trials=spec.budget.trials,
            seconds=left,
            best=spec.confirmation.best,
            seeds=spec.confirmation.seeds,
            concurrency=room_for(resources) if spec.concurrency == "auto" else spec.concurrency,
        )
        display = LiveDisplay(console, problem, plan.trials, plan.seconds, began)
        conductor = Conductor(
            plan,
            study,
            _Recorder(tracker, folder.name, record.run_id),
            display,
            folder.trials,
            sampler_of(spec, problem, distribution),
            time.monotonic,
            began,
        )
        settle(folder, study, tracker)
        with display:
            try:
                drive(conductor, resources, folder.path, tracker.uri, record.data)
            finally:
                folder.spent(record.elapsed + time.monotonic() - began, "RUNNING")
        if conductor.interrupted:
            return Outcome(folder.name, problem, tracker.uri, interrupted=True)
        settle(folder, study, tracker)
        write_results(folder, record.run_id, study, tracker)
    except KeyboardInterrupt:
        # Before the first trial or after the last one: all of it is kept, and can be gone on with.
        return Outcome(folder.name, problem, tracker.uri, interrupted=True)
    folder.spent(record.elapsed + time.monotonic() - began, "COMPLETE")
    return Outcome(folder.name, problem, tracker.uri, interrupted=False)

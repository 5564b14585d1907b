"""Starts a search, or goes on with one, and brings it to its end."""

from __future__ import annotations

import os
import time
import uuid
from collections import Counter
from collections.abc import Container, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console

from search.conclusion import conclude, enqueue, open_study, store_patience
from search.conductor import Conductor, Plan
from search.config import Config, Problem
from search.disk_space import full, is_full
from search.driver import drive
from search.elapsed import noted
from search.errors import FailedError, UserError
from search.fitting import check_fits
from search.jobs import Job
from search.masking import mask
from search.node import Expected, file_stores, loopback
from search.progress import LiveDisplay
from search.ray_cluster import (
    check_nodes,
    is_elastic,
    own_node,
    room,
    room_for,
    start_ray,
    stop_ray,
)
from search.recorder import BackgroundRecorder, SearchRuns, runs_by_name
from search.room import Resources
from search.sampling import load_problem, sampler_of
from search.search_folder import (
    STUDY_URL_VARIABLE,
    UNSENT,
    SearchFolder,
    SearchRecord,
    check_storage,
    free_name,
)
from search.settle import lost_results
from search.spec import Spec, parse_spec
from search.study import CONFIG, SearchStudy
from search.synchronize import store_of
from search.tracking import Tracker
from search.tracking_client import check
from search.tracking_reader import Reader
from search.versions import versions_here

SECONDS_AFTER_INTERRUPTION = 5.0


@dataclass(frozen=True)
class Outcome:
    """How a search stands when its driver ends."""

    name: str
    problem: Problem
    tracking_uri: str
    interrupted: bool


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
    check_storage(storage)
    tracker = Tracker(tracking_uri, storage.expanduser().absolute() / "artifacts")
    check(tracker.uri)
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
    _check_new_study(spec, folder, problem)
    resolved = spec.resolved() | {"name": name}
    with folder.locked(), _ray(name, problem, console):
        spec = _on_what_there_is(spec)
        # Noted first: whoever is cut off before the store answers can go on with this search.
        token = uuid.uuid4().hex
        record = SearchRecord(resolved, "", mask(tracking_uri, tracking_uri), data, token=token)
        folder.write(record)
        run_id = tracker.start_search(problem, name, resolved, spec.seed, token)
        record = replace(record, run_id=run_id)
        folder.write(record)
        runs = SearchRuns(tracker, name, run_id, None)
        return _drive(spec, folder, record, runs, console, began)


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
    folder.look()  # Refuses an unknown name before the lock makes a folder of it.
    with folder.locked():
        record = folder.unfinished()
        uri = store_of(record, tracking_uri)
        spec = parse_spec(record.spec)
        if time_limit is not None:
            elapsed = record.elapsed
            budget = spec.budget.model_copy(update={"time_limit": elapsed + time_limit})
            spec = spec.model_copy(update={"budget": budget})
        record = replace(record, data=data or record.data)
        tracker = Tracker(uri, storage.expanduser().absolute() / "artifacts")
        check(uri)
        problem, _ = load_problem(spec, record.data)
        reader = Reader(uri)
        if not record.run_id:
            # A run of this name may be somebody else's: then its token is another.
            again = (problem, name, record.spec, spec.seed, record.token)
            record = replace(record, run_id=tracker.start_search(*again))
        recorded = reader.trials(name)
        _check_same_problem(name, problem, set(recorded["problem_hash"]))
        folder.write(record)
        runs = SearchRuns(tracker, name, record.run_id, runs_by_name(recorded))
        with _ray(name, problem, console):
            return _drive(_on_what_there_is(spec), folder, record, runs, console, began)


def _check_same_problem(name: str, problem: Problem, hashes: set[str]) -> None:
    """Refuse to go on where trials would be of another problem than those that are recorded."""
    if hashes and problem.hash not in hashes:
        raise UserError(
            f"{name}: data: what is there now makes another problem ({problem.hash[:8]}) than its "
            f"trials are of ({', '.join(sorted(each[:8] for each in hashes))}): bring the data "
            "back as they were, or name their folder with --data; for these, start a new search"
        )


def _check_new_study(spec: Spec, folder: SearchFolder, problem: Problem) -> None:
    """Refuse to begin in a study that another search of this name has left in a database."""
    if not (spec.study_url or os.environ.get(STUDY_URL_VARIABLE)):
        return  # It is in the search's own folder, which is new.
    left = len(open_study(spec, folder, problem).trials())
    if left:
        raise UserError(
            f"--name: {folder.name}: the database of studies has one of this name, with {left} "
            "trials of another search; give another --name, or remove that study: optuna "
            f"delete-study --study-name {folder.name} --storage URL"
        )


@contextmanager
def _ray(name: str, problem: Problem, console: Console) -> Iterator[None]:
    """Start Ray, or connect to the cluster, before anything is recorded; leave it at the end."""
    console.print(f"[dim]starting Ray for search {name} on {problem.name} ...[/dim]")
    try:
        start_ray()
        yield
    finally:
        stop_ray()


def _on_what_there_is(spec: Spec) -> Spec:
    """Return the specification for a machine without a GPU where `auto` finds none."""
    if spec.resources.gpu != "auto" or is_elastic() or room().gpu:
        return spec
    return spec.model_copy(update={"resources": spec.resources.model_copy(update={"gpu": 0.0})})


def _drive(
    spec: Spec,
    folder: SearchFolder,
    record: SearchRecord,
    runs: SearchRuns,
    console: Console,
    began: float,
) -> Outcome:
    patience = store_patience()
    problem, distribution = load_problem(spec, record.data)
    resources = Resources(spec.resources.cpu, spec.resources.gpu, spec.resources.memory_gb)
    fitting = room_for(resources)
    expected = _expected(
        folder, record, problem, runs.tracker.uri, folder.study_url(spec.study_url)
    )
    check_nodes(expected)
    study = open_study(spec, folder, problem)
    enqueue(spec, study)
    limit = spec.budget.time_limit
    left = None if limit is None else max(0.0, limit - record.elapsed)
    recorder = BackgroundRecorder(runs)
    try:
        plan = Plan(
            trials=spec.budget.trials,
            seconds=left,
            best=spec.confirmation.best,
            seeds=spec.confirmation.seeds,
            concurrency=fitting if spec.concurrency == "auto" else spec.concurrency,
        )
        display = LiveDisplay(console, problem, plan.trials, plan.seconds, began)
        again = lost_results(folder, study, runs.tracker.uri)
        display.resumed(*_before(study, {job.number for job in again if job.kind == "trial"}))
        conductor = Conductor(
            plan,
            study,
            recorder,
            display,
            folder.trials,
            sampler_of(spec, problem, distribution),
            time.monotonic,
            began,
            again,
        )
        with display, noted(folder, record.elapsed, began):
            drive(conductor, resources, runs.tracker.uri, expected, spec.budget.trial_timeout)
        if conductor.interrupted:
            recorder.close(SECONDS_AFTER_INTERRUPTION)
        if conductor.blocked:
            raise _interrupted(conductor.blocked, folder)
        if conductor.interrupted:
            return Outcome(folder.name, problem, runs.tracker.uri, interrupted=True)
        folder.spent(record.elapsed + time.monotonic() - began, UNSENT)
        recorder.close(patience)
        conclude(folder, study, runs)
    except KeyboardInterrupt:
        # Before the first trial or after the last one: all of it is kept, and can be gone on with.
        return Outcome(folder.name, problem, runs.tracker.uri, interrupted=True)
    except OSError as error:
        # It may be the driver that meets a full disk, and first or last of all.
        if not is_full(error):
            raise
        raise _interrupted(full(error.filename or folder.path), folder) from error
    return Outcome(folder.name, problem, runs.tracker.uri, interrupted=False)


def _interrupted(reason: str, folder: SearchFolder) -> FailedError:
    return FailedError(
        f"{reason}\nThe search is interrupted, and nothing is lost. Then go on "
        f"with:  metasweep resume {folder.name}"
    )


def _expected(
    folder: SearchFolder, record: SearchRecord, problem: Problem, tracking_uri: str, study_url: str
) -> Expected:
    return Expected(
        node=own_node(),
        folder=str(folder.path),
        run_id=record.run_id,
        data=record.data,
        data_digest=problem.data_digest,
        versions=versions_here(),
        file_stores=file_stores(tracking_uri, study_url),
        loopback=loopback(tracking_uri),
    )


def _before(
    study: SearchStudy, again: Container[int]
) -> tuple[Counter[str], tuple[float, Job] | None]:
    """Return what earlier drivers of a search have done: ended trials by state, and the best.

    again: numbers of trials that will end once more.
    """
    ended = study.trials("COMPLETE", "PRUNED", "FAIL")
    # One that was enqueued has a configuration from when it is handed out.
    foreign = [
        trial.number
        for trial in (*ended, *study.trials("RUNNING"))
        if CONFIG not in trial.user_attrs
        and not (trial.state.name == "RUNNING" and "fixed_params" in trial.system_attrs)
    ]
    if foreign:
        raise UserError(
            f"study: another program has added trials that have no configuration: {foreign[:10]}; "
            "a search's study is its own: begin another search, under another name"
        )
    counts = Counter(trial.state.name for trial in ended if trial.number not in again)
    for trial in study.best(1):
        config = Config.from_dict(trial.user_attrs[CONFIG])
        return counts, (float(trial.value or 0), Job("trial", trial.number, config, ""))
    return counts, None

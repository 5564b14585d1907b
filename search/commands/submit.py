"""`metasweep submit`, and `metasweep resume --address`: a search as a job on a Ray cluster."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from search.commands.cluster import at, follow_job, say
from search.commands.options import (
    Address,
    Assignments,
    Concurrency,
    Episodes,
    Follow,
    SearchName,
    SearchSeed,
    SpecArgument,
    TimeLimit,
    Trials,
    overrides,
)
from search.errors import UserError

if TYPE_CHECKING:
    from search.own_code import OwnCode
    from search.ray_jobs import ClusterJob, Jobs
    from search.spec import Spec

WIDTH = 120
"""Columns of a job's log where nobody watches it on a terminal."""

STOP_SECONDS = 60
"""For a driver to end in order; Ray's own 3 seconds are too few to seal what runs."""

ClusterTrackingUri = Annotated[
    str | None,
    typer.Option(
        "--tracking-uri",
        help="MLflow store, as the cluster reaches it. Default: MLFLOW_TRACKING_URI there, else a "
        "SQLite file in the storage folder.",
        show_default=False,
    ),
]
ClusterStorage = Annotated[
    Path | None,
    typer.Option(
        "--storage",
        help="Folder on the cluster for searches, checkpoints and episodes. "
        "Default: METASWEEP_STORAGE there, else ~/metasweep-store.",
        show_default=False,
    ),
]
ClusterData = Annotated[
    Path | None,
    typer.Option(
        "--data",
        help="Folder of data sets on the cluster. Default: METASWEEP_DATA there, else downloads.",
        show_default=False,
    ),
]


def submit(
    spec: SpecArgument,
    address: Address = None,
    follow: Follow = False,
    name: SearchName = None,
    trials: Trials = None,
    episodes: Episodes = None,
    time_limit: TimeLimit = None,
    concurrency: Concurrency = None,
    seed: SearchSeed = None,
    set_: Assignments = None,
    tracking_uri: ClusterTrackingUri = None,
    storage: ClusterStorage = None,
    data: ClusterData = None,
) -> None:
    """Submit a search to a Ray cluster, with metasweep as it is here and your own code."""
    from search.dashboard import resolve_address
    from search.own_code import own_code
    from search.packing import SPEC_FILE
    from search.ray_jobs import Jobs
    from search.spec import load_spec
    from search.submission import check_new, check_same, free_id, running_job

    given = overrides(name, trials, episodes, time_limit, concurrency, seed, set_)
    loaded = load_spec(spec, given)
    environment = _environment(storage, data, tracking_uri)
    _check_store("study_url", loaded.study_url, "METASWEEP_STUDY_URL")
    _check_paths(loaded)
    own = own_code(loaded)
    resolved = loaded.resolved()
    jobs = Jobs(resolve_address(address))
    known = jobs.all()
    mine = [job for job in known if job.search == loaded.name]
    running = running_job(mine)
    if running is not None:
        check_same(running, resolved, at(jobs))
        _attach(jobs, running, follow)
        return
    check_new(loaded.name, mine, at(jobs))
    command = ["search", SPEC_FILE, "--name", loaded.name]
    id = free_id(loaded.name, {job.id for job in known})
    _start(jobs, id, loaded.name, command, environment, resolved, own, follow)


def resume_there(
    name: str,
    *,
    address: str,
    time_limit: str | None,
    storage: Path | None,
    data: Path | None,
    tracking_uri: str | None,
    spec: str | None,
    follow: bool,
) -> None:
    """Go on with a search on a cluster, as a new job.

    spec: for a cluster that has not seen the search, and so does not know which code it needs.
    """
    from search.dashboard import resolve_address
    from search.own_code import own_code
    from search.ray_jobs import Jobs
    from search.spec import load_spec, parse_spec
    from search.submission import check_unended, free_id, running_job

    loaded = None if spec is None else load_spec(spec, {"name": name})
    jobs = Jobs(resolve_address(address))
    everything = jobs.all()
    mine = [job for job in everything if job.search == name]
    running = running_job(mine)
    if running is not None:
        if time_limit is not None:
            raise UserError(
                f"--time-limit: {time_limit}: {name} runs already, as job {running.id}; stop it "
                f"first: metasweep stop {name}{at(jobs)}"
            )
        _attach(jobs, running, follow)
        return
    check_unended(name, mine)
    known = next((job for job in reversed(mine) if job.spec is not None), None)
    if loaded is None and known is not None:
        loaded = parse_spec(known.spec or {})
    if loaded is None:
        # As after a restart of the head, which forgets its jobs.
        say(
            f"This cluster has not seen {name}: if its specification names code of your own, give "
            "it with --spec, so that the cluster gets that code."
        )
    if storage is None and known is not None and known.storage is not None:
        storage = Path(known.storage)
    environment = _environment(storage, data, tracking_uri)
    command = ["resume", name]
    command += [] if time_limit is None else ["--time-limit", time_limit]
    resolved = None if loaded is None else loaded.resolved()
    own = None if loaded is None else own_code(loaded)
    id = free_id(name, {job.id for job in everything})
    _start(jobs, id, name, command, environment, resolved, own, follow)


def _start(
    jobs: Jobs,
    id: str,
    name: str,
    command: list[str],
    environment: dict[str, str],
    resolved: Mapping[str, Any] | None,
    own: OwnCode | None,
    follow: bool,
) -> None:
    from search.packing import pack
    from search.ray_jobs import SEARCH, SPEC, STORAGE
    from search.submitted import STORAGE as VARIABLE

    metadata = {SEARCH: name}
    metadata |= {} if resolved is None else {SPEC: json.dumps(resolved)}
    metadata |= {STORAGE: environment[VARIABLE]} if VARIABLE in environment else {}
    with TemporaryDirectory(prefix="metasweep-") as scratch:
        folder = Path(scratch)
        packed = pack(folder, resolved, own)
        entrypoint = shlex.join(["python", "-m", "search", *command])
        jobs.submit(id, entrypoint, folder, environment, metadata)
    say(f"{name}: submitted to {jobs.address} as job {id}")
    own_files = f", {len(own.files)} of them your own" if own and own.files else ""
    say(f"  packed {packed.files} files{own_files}, {packed.size / 1e6:.1f} MB")
    for line in own.installed if own else []:
        say(f"  not packed: {line}; the cluster must have it installed, too")
    _next(jobs, name, follow)
    if follow:
        follow_job(jobs, id, name)


def _attach(jobs: Jobs, running: ClusterJob, follow: bool) -> None:
    say(f"{running.search}: is on {jobs.address} already, as job {running.id} ({running.state})")
    _next(jobs, running.search, follow)
    if follow:
        follow_job(jobs, running.id, running.search)


def _next(jobs: Jobs, name: str, follow: bool) -> None:
    if follow:
        return
    say(
        "Next:\n"
        f"  metasweep status {name} --follow{at(jobs)}\n"
        f"  metasweep status{at(jobs)}\n"
        f"  metasweep stop {name}{at(jobs)}"
    )


def _environment(
    storage: Path | None, data: Path | None, tracking_uri: str | None
) -> dict[str, str]:
    """Return what a job finds in its environment, on top of the cluster's own.

    Raises UserError for what a job cannot use, and for a password: a job's environment can be seen
    by all who use the cluster.
    """
    from search.submitted import STORAGE, TRACKING, VERSIONS
    from search.versions import versions_here

    width = Console().width if Console().is_terminal else WIDTH
    environment = {
        VERSIONS: json.dumps(versions_here(), sort_keys=True),
        "RAY_JOB_STOP_WAIT_TIME_S": str(STOP_SECONDS),
        "COLUMNS": str(width),
    }
    for option, variable, path in (
        ("--storage", STORAGE, storage),
        ("--data", "METASWEEP_DATA", data),
    ):
        if path is not None:
            if not path.is_absolute():
                raise UserError(f"{option}: {path}: must be an absolute path, on the cluster")
            environment[variable] = str(path)
    _check_store("--tracking-uri", tracking_uri, TRACKING)
    if tracking_uri is not None:
        environment[TRACKING] = tracking_uri
    return environment


def _check_paths(spec: Spec) -> None:
    """Raise UserError for a path among the task's options that would start at this folder."""
    for name, path in spec.problem.paths.items():
        if not Path(path).is_absolute():
            raise UserError(
                f"problem.options.{name}: {path}: must be an absolute path, on the cluster"
            )


def _check_store(field: str, uri: str | None, variable: str) -> None:
    from search.masking import masked
    from search.submitted import is_relative

    if uri is None:
        return
    shown = masked(uri)
    if shown != uri:
        raise UserError(
            f"{field}: {shown}: holds a password, which all who use the cluster would see; set "
            f"{variable} where the cluster's head is started, and leave this out"
        )
    if is_relative(uri):
        raise UserError(f"{field}: {uri}: must be an absolute path, on the cluster")

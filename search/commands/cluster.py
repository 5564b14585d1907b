"""`metasweep status` and `metasweep stop`: the searches on a Ray cluster."""

from __future__ import annotations

import time
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer
from rich import box
from rich.console import Console
from rich.table import Table

from search.commands.options import Address, Follow
from search.errors import FailedError, UserError

if TYPE_CHECKING:
    from search.ray_jobs import ClusterJob, Jobs

INTERRUPTED = 130
MOST_ROWS = 20
LONGEST_MESSAGE = 2_000
SECONDS_TO_STOP = 90.0
COLORS = {"RUNNING": "green", "PENDING": "cyan", "FAILED": "red", "STOPPED": "yellow"}


def status(
    name: Annotated[
        str | None, typer.Argument(help="Name of a search. Default: all.", show_default=False)
    ] = None,
    address: Address = None,
    follow: Follow = False,
) -> None:
    """Show the searches on a cluster: their jobs, how they stand and how far they are."""
    from search.dashboard import resolve_address
    from search.ray_jobs import Jobs

    if follow and name is None:
        raise UserError("--follow: needs the name of a search: metasweep status NAME --follow")
    jobs = Jobs(resolve_address(address))
    found = jobs.all() if name is None else _named(jobs, name)
    if follow and name is not None:
        follow_job(jobs, found[-1].id, name)
    if not found:
        say(f"no search has been submitted to {jobs.address}")
        return
    Console().print(_table(jobs, found[-MOST_ROWS:]))
    if len(found) > MOST_ROWS:
        say(f"  and {len(found) - MOST_ROWS} older ones: metasweep status NAME{at(jobs)}")


def stop(
    name: Annotated[str, typer.Argument(help="Name of a search that runs on the cluster.")],
    address: Address = None,
) -> None:
    """Stop a search on a cluster in an orderly way: all that it has is kept."""
    from search.dashboard import resolve_address
    from search.ray_jobs import Jobs
    from search.submission import running_job

    jobs = Jobs(resolve_address(address))
    found = _named(jobs, name)
    running = running_job(found)
    if running is None:
        raise UserError(f"{name}: does not run: {found[-1].state} since {_when(found[-1].ended)}")
    say(f"{name}: stopping job {running.id}; what runs is kept, which may take a minute ...")
    jobs.stop(running.id)
    deadline = time.monotonic() + SECONDS_TO_STOP
    while not (job := jobs.job(running.id)).over:
        if time.monotonic() > deadline:
            raise FailedError(f"{name}: has not ended yet; see: metasweep status {name}{at(jobs)}")
        time.sleep(0.5)
    say(f"{name}: {job.state}. Go on with:  metasweep resume {name}{at(jobs)}")


def follow_job(jobs: Jobs, id: str, name: str) -> NoReturn:
    """Show a job's log until it ends, then exit as it did; Ctrl-C leaves it alone."""
    from search.follow import Follower
    from search.plain_text import cut, visible

    console = Console(highlight=False)
    try:
        with Follower(console) as follower:
            job = jobs.follow(id, follower.show)
    except KeyboardInterrupt:
        say(
            f"\n{name}: no longer shown; it goes on. Show it again with:  "
            f"metasweep status {name} --follow{at(jobs)}"
        )
        raise typer.Exit(INTERRUPTED) from None
    if job.state == "SUCCEEDED":
        say(f"{name}: SUCCEEDED, as job {id}")
        raise typer.Exit(0)
    if job.state == "STOPPED":
        say(f"{name}: STOPPED. Go on with:  metasweep resume {name}{at(jobs)}")
        raise typer.Exit(INTERRUPTED)
    if job.exit_code is None:
        say(visible(cut(job.message, LONGEST_MESSAGE)))
    code = "" if job.exit_code is None else f" with exit code {job.exit_code}"
    say(f"{name}: FAILED{code}, as job {id}")
    raise typer.Exit(job.exit_code or FailedError.exit_code)


def at(jobs: Jobs) -> str:
    """Return what a command needs to reach the same cluster, whatever a shell's variables say."""
    return f" --address {jobs.address}"


def say(text: str) -> None:
    """Print a text as it is."""
    Console().print(text, soft_wrap=True, highlight=False, markup=False)


def _named(jobs: Jobs, name: str) -> list[ClusterJob]:
    everything = jobs.all()
    found = [job for job in everything if job.search == name]
    if not found:
        names = list(dict.fromkeys(job.search for job in everything))
        others = f"there are: {', '.join(names)}" if names else "there is none yet"
        raise UserError(f"{name}: no search of that name on {jobs.address}; {others}")
    return found


def _table(jobs: Jobs, found: list[ClusterJob]) -> Table:
    from search.table_text import terminal

    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), pad_edge=False)
    for heading in ("search", "state", "started", "took", "job", "how far"):
        table.add_column(heading, no_wrap=heading != "how far", overflow="fold")
    for job in found:
        state = terminal(job.state)
        state.stylize(COLORS.get(job.state, ""))
        table.add_row(
            terminal(job.search),
            state,
            _when(job.started),
            _took(job),
            terminal(job.id),
            terminal(_how_far(jobs, job)),
        )
    return table


def _how_far(jobs: Jobs, job: ClusterJob) -> str:
    """Return the newest count of trials in a job's log; of a failed one what it ended with."""
    from search.progress import SUMMARY

    if job.state == "PENDING":
        return job.message
    try:
        log = jobs.log(job.id)
    except FailedError:
        log = job.message  # It is kept by the node that the job ran on, which may be gone.
    if job.state == "FAILED":
        lines = [line for line in log.splitlines() if line.strip()]
        return next((line for line in lines if line.startswith("error ")), (lines or [""])[-1])
    counts = SUMMARY.findall(log)
    if not counts:
        return "" if job.over else "starting"
    done, best = counts[-1]
    return f"{done}, best {best}" if best else str(done)


def _when(seconds: float | None) -> str:
    return "" if seconds is None else f"{datetime.fromtimestamp(seconds):%m-%d %H:%M}"


def _took(job: ClusterJob) -> str:
    if job.started is None:
        return ""
    seconds = int((job.ended or time.time()) - job.started)
    hours, minutes = seconds // 3600, seconds % 3600 // 60
    return f"{hours}h{minutes:02d}m" if hours else f"{minutes}m{seconds % 60:02d}s"

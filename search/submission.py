"""What becomes of a search that is submitted, by what a cluster knows of its name."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from search.errors import FailedError, UserError
from search.flatten import differences
from search.plain_text import cut, visible
from search.ray_jobs import ClusterJob

LONGEST_VALUE = 60
MOST_DIFFERENCES = 10


def running_job(jobs: Sequence[ClusterJob]) -> ClusterJob | None:
    """Return the job that has not ended, if there is one."""
    return next((job for job in reversed(jobs) if not job.over), None)


def check_same(running: ClusterJob, spec: Mapping[str, Any], at: str) -> None:
    """Raise UserError, naming the fields, where a running job's specification is another one.

    at: what a command needs to reach the cluster, such as " --address http://localhost:8265".
    """
    name = running.search
    differing = [
        f"  {_dotted(key)}: {_shown(there)} there, {_shown(here)} here"
        for key, there, here in differences(running.spec or {}, spec)
    ]
    if not differing:
        return
    more = len(differing) - MOST_DIFFERENCES
    lines = differing[:MOST_DIFFERENCES] + ([f"  and {more} more"] if more > 0 else [])
    raise UserError(
        f"--name: {name}: runs already, as job {running.id}, with another specification:\n"
        + "\n".join(lines)
        + f"\nGive another --name; or stop that one first: metasweep stop {name}{at}"
    )


def check_new(name: str, jobs: Sequence[ClusterJob], at: str) -> None:
    """Raise UserError where a search of this name has run on the cluster, with what to do."""
    begun = [job for job in jobs if not _was_refused(job)]
    if not begun or begun[-1].exit_code == FailedError.exit_code:
        # A store that was away may have kept it from beginning: the driver looks into its folder.
        return
    last = begun[-1]
    if last.state == "SUCCEEDED":
        raise UserError(
            f"--name: {name}: that search has ended, as job {last.id}; give another --name"
        )
    how = "was stopped" if last.state == "STOPPED" else "was cut off"
    raise UserError(
        f"--name: {name}: that search {how}, as job {last.id}; go on with it: "
        f"metasweep resume {name}{at}\nor give another --name"
    )


def check_unended(name: str, jobs: Sequence[ClusterJob]) -> None:
    """Raise UserError where there is nothing left to go on with."""
    begun = [job for job in jobs if not _was_refused(job)]
    if begun and begun[-1].state == "SUCCEEDED":
        raise UserError(
            f"{name}: has ended, as job {begun[-1].id}; submit another with another --name"
        )


def free_id(name: str, taken: Collection[str]) -> str:
    """Return a job id for a search: "metasweep-NAME", or with the first free number after it."""
    wanted = f"metasweep-{name}"
    number, id = 1, wanted
    while id in taken:
        number += 1
        id = f"{wanted}-{number}"
    return id


def _was_refused(job: ClusterJob) -> bool:
    """Whether a job ended before its search began: refused by its driver, or never started."""
    never_started = job.exit_code is None and not job.cut_off
    return job.state == "FAILED" and (never_started or job.exit_code == UserError.exit_code)


def _dotted(key: str) -> str:
    """Write a flattened key as `--set` takes it: the names in `space` hold slashes themselves."""
    return key.replace("/", ".", 1 if key.startswith("space/") else -1)


def _shown(value: Any) -> str:
    return cut(visible(str(value)), LONGEST_VALUE)

"""Brings MLflow up to date with the study and the jobs' folders, which hold the truth.

A driver may have died between the two, and a tracking server may have been down for a while.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

from search.checkpoint import CheckpointError
from search.config import Config
from search.errors import FailedError, StoreError
from search.jobs import Job, Progress, trial_name
from search.ledger import Ledger
from search.recorder import SearchRuns
from search.run_file import Run, RunFile
from search.run_job import RESULT
from search.search_folder import SearchFolder
from search.study import (
    CONFIG,
    CONFIRMED,
    CONFIRMED_REASON,
    REASON,
    REFERENCE,
    SearchStudy,
    State,
)
from search.tracking_client import check
from search.trial_folder import TrialFolder


@dataclass(frozen=True)
class _Ended:
    """A job that has ended, how, and why; state None for one that was interrupted."""

    job: Job
    confirms: str | None
    state: State | None
    reason: str


class LostResultError(FailedError):
    """A job is COMPLETE, but what it ended with is damaged on disk, and MLflow lacks it."""


def settle(folder: SearchFolder, study: SearchStudy, runs: SearchRuns) -> int:
    """Send what jobs have sealed, close the runs of those that have ended, and remove doubles.

    Returns how many jobs there was anything to do for. Raises StoreError when the store does not
    answer, and at the end when it has not taken what belongs to some job; FailedError at the end
    when files of some job are damaged or cannot be read: its run stays open.
    """
    changed, refused, unfit = 0, [], []
    for ended in _jobs(folder, study):
        try:
            changed += _settle(ended, runs)
        except StoreError as error:
            check(runs.tracker.uri)
            refused.append(str(error))
        except LostResultError as error:
            unfit.append(f"{error}:  metasweep resume {folder.name}")
        except CheckpointError as error:
            unfit.append(f"{ended.job.name}: {error}; nothing of it was touched")
    if refused:
        raise StoreError("\n".join([*unfit, *refused]))
    runs.remove_doubles(folder.trials)
    if unfit:
        raise FailedError("\n".join(unfit))
    return changed


def lost_results(folder: SearchFolder, study: SearchStudy, tracking_uri: str) -> list[Job]:
    """List the COMPLETE jobs whose result is neither in MLflow nor whole on disk.

    Run again, each goes on from its last checkpoint that is whole, to the same result.
    """
    return [ended.job for ended in _jobs(folder, study) if _is_lost(ended, tracking_uri)]


def _is_lost(ended: _Ended, tracking_uri: str) -> bool:
    path = Path(ended.job.folder)
    run = RunFile(path, tracking_uri).read()
    if ended.state != "COMPLETE" or (run is not None and _is_recorded(ended.job, run)):
        return False
    try:
        return _result(TrialFolder(path), ended.job.config) is None
    except CheckpointError:
        return False  # It may be whole; `settle` tells of it.


def _settle(ended: _Ended, runs: SearchRuns) -> bool:
    job = ended.job
    run = runs.open(job, ended.confirms)
    if _is_recorded(job, run):
        return False
    kept = TrialFolder(Path(job.folder))
    result = _result(kept, job.config)
    if ended.state == "COMPLETE" and result is None:
        raise LostResultError(
            f"{job.name}: COMPLETE, but its last checkpoint or table, in {job.folder}, is missing "
            "or damaged, and was not sent to MLflow before.\n"
            "It can be run again from what is whole, to the same result"
        )
    over = ended.state is not None
    if not runs.tracker.publish(run.id, kept, job.config, ended=over):
        raise StoreError(f"{job.name}: the store at {runs.masked_uri} did not take its episodes")
    if ended.state is not None:
        numbers = result.summaries if result else {}
        runs.close(job, ended.confirms, ended.state, ended.reason, numbers)
    return True


def _is_recorded(job: Job, run: Run) -> bool:
    return run.closed and Ledger(Path(job.folder), run.id).is_complete


def _result(kept: TrialFolder, config: Config) -> Progress | None:
    """Return what a job ended with, where that is whole."""
    snapshot = kept.newest(config)
    result = snapshot.state.get(RESULT) if snapshot else None
    return Progress(**result) if result else None


def _jobs(folder: SearchFolder, study: SearchStudy) -> Iterator[_Ended]:
    """List the jobs that a search has begun, as the study knows them."""
    notes = study.notes()
    for trial in study.trials("COMPLETE", "PRUNED", "FAIL", "RUNNING"):
        if CONFIG not in trial.user_attrs:
            continue
        config = Config.from_dict(trial.user_attrs[CONFIG])
        running = trial.state.name == "RUNNING"
        state = None if running else cast(State, trial.state.name)
        published = REFERENCE in trial.user_attrs
        job = _placed(Job("trial", trial.number, config, "", published=published), folder)
        yield _Ended(job, None, state, trial.user_attrs.get(REASON, ""))
        for key, ended in notes.items():
            kind, _, rest = key.partition("/")
            number, _, seed = rest.partition("/")
            if kind == CONFIRMED and int(number) == trial.number:
                again = replace(config, seed=int(seed))
                confirmation = _placed(Job("confirmation", trial.number, again, ""), folder)
                why = notes.get(f"{CONFIRMED_REASON}/{rest}", "")
                yield _Ended(confirmation, trial_name(trial.number), ended, why)


def _placed(job: Job, folder: SearchFolder) -> Job:
    return replace(job, folder=str(folder.trials / job.name))

"""Runs one job in the process it is given: trains, records, seals, publishes. Knows no Ray."""

from __future__ import annotations

import contextlib
import functools
import math
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

import torch

from algorithms import RecipeError
from algorithms.memory import device_megabytes
from episodes import DataError
from episodes.episode import TaskDistribution
from networks import NetworkError
from search.attempts import SupersededError
from search.baseline import baseline
from search.checkpoint import CheckpointError
from search.config import Config
from search.disk import PATIENT, StillFullError, Waiting, patiently
from search.errors import UserError
from search.jobs import Progress
from search.masking import without_secrets
from search.memory import is_out_of_memory
from search.records import Interval, interval
from search.training import Report, meta_train
from search.trial_folder import TrialFolder
from search.watchdog import where_it_hung

SEAL_SECONDS = 20.0
RESULT = "result"
DEATHS = 3
"""A process that died so often in a row at one place would die there again."""

KILLED = "the kernel killed a process for lack of memory where it ran, and this one died"
HUNG, NO_MEMORY = "hung.txt", "no-memory.txt"
"""What a watchdog or the driver leaves in the folder of a job whose process was ended."""


class Publish(Protocol):
    """Takes what was sealed, to send it."""

    def __call__(self, folder: TrialFolder, *, ended: bool) -> object:
        """Send the sealed episodes; `ended` says that no more will come."""
        ...


def run_job(
    config: Config,
    distribution: TaskDistribution,
    folder: TrialFolder,
    publish: Publish,
    clock: Callable[[], float] = time.monotonic,
    *,
    by: str,
    room: int = 1,
    measured: bool = False,
    waiting: Waiting = PATIENT,
) -> Iterator[Progress]:
    """Run a configuration in its folder, going on from what is sealed there.

    Episodes and checkpoint are sealed together at every rung, at the end, and every 20 seconds in
    between; `publish` then sends what was sealed. A divergence, lack of memory and a failure are
    told as such, never raised; where the disk is full, the job waits, and in the end tells that it
    is blocked, as it does where what is sealed cannot be read. Raises SupersededError when another
    process goes on with the job.
    by: the driver that runs it, which restarts it where its process dies.
    room: how many times the usual memory there is; episodes run in chunks smaller by as much.
    measured: whether the first report is to tell the memory that evaluations take, too.
    """
    sealed_at = clock()
    try:
        snapshot = yield from patiently(lambda: folder.resume(config, by), folder.path, waiting)
        if snapshot is not None and RESULT in snapshot.state:
            publish(folder, ended=True)
            yield Progress(**snapshot.state[RESULT])
            return
        end = _end(folder)
        if end is not None:
            yield end
            return
        for report in meta_train(config, distribution, snapshot, room, measured):
            progress = _progress(report, config, distribution)
            folder.add(report.records)
            if report.phase != "train" or clock() - sealed_at >= SEAL_SECONDS:
                if progress.ended:
                    report.snapshot.state[RESULT] = _json(progress)
                seal = functools.partial(folder.seal, report.snapshot, config)
                yield from patiently(seal, folder.path, waiting)
                publish(folder, ended=progress.ended)
                sealed_at = clock()
            yield progress
    except SupersededError:
        raise
    except (StillFullError, CheckpointError) as error:
        yield Progress("blocked", 0, reason=str(error))
    except Exception as error:
        yield failure(error, folder.path)


def _end(folder: TrialFolder) -> Progress | None:
    """Return how a job ends that cannot be gone on with, from what its processes left behind."""
    where = where_it_hung(folder.path / HUNG)
    if where is not None:
        reason = f"hung: it told nothing for the trial_timeout{where}"
        return Progress("failed", 0, reason=reason)
    taken = folder.path / NO_MEMORY
    if taken.exists():
        reason = taken.read_text()
        taken.unlink()  # With more room, the job begins without it.
        return Progress("out_of_memory", 0, reason=f"out of memory: {reason}")
    if folder.memory_ran_out:
        return Progress("out_of_memory", 0, reason=f"out of memory: {KILLED}")
    if folder.in_vain >= DEATHS:
        reason = f"its process died {folder.in_vain} times in a row without getting any further"
        return Progress("failed", 0, reason=reason)
    return None


def _progress(report: Report, config: Config, distribution: TaskDistribution) -> Progress:
    numbers = summaries(report)
    if report.phase == "final":
        numbers |= baseline(config.problem, distribution)
    memory = device_megabytes(torch.device(config.device))
    if memory is not None:
        numbers["device_memory_mb"] = memory
    return Progress(
        phase=report.phase,
        episodes=report.episodes,
        value=report.validation.mean if report.validation else math.nan,
        history=list(report.snapshot.state["history"]),
        summaries=numbers,
        reason=report.reason,
    )


def summaries(report: Report) -> dict[str, float]:
    """Return the numbers that a run is summarized by, as "validation_mean", "train_seconds"...

    What the task measures beside its metric is there as "test_bleu_mean", ...; where it measures
    masks, also "test_class_iou" and "test_fb_iou": see `search.records.EpisodeRecords.pooled`."""
    numbers = {
        "episodes": float(report.episodes),
        "train_seconds": report.train_seconds,
        "peak_memory_mb": report.peak_memory_mb,
        "adaptation_ms": report.adaptation_ms,
    }
    if report.phase == "final":
        for name, found in (("validation", report.validation), ("test", report.test)):
            if isinstance(found, Interval):
                numbers |= {f"{name}_{key}": float(value) for key, value in asdict(found).items()}
        for part in report.records:
            for name in part.measures:
                found = interval(part.metric(name))
                numbers |= {f"test_{name}_{key}": float(v) for key, v in asdict(found).items()}
            numbers |= {f"test_{name}": value for name, value in part.pooled().items()}
    return {name: value for name, value in numbers.items() if math.isfinite(value)}


def _json(progress: Progress) -> dict[str, Any]:
    """Return a progress as strict JSON values: a value that is not finite is left out."""
    fields = asdict(progress)
    if not math.isfinite(progress.value):
        del fields["value"]
    return fields


def failure(error: Exception, folder: Path) -> Progress:
    """Tell lack of memory, which the configuration can be blamed for, from everything else.

    A traceback is kept of what is not a user's to mend. Neither shows a password or a token, which
    the error of a user's own code may hold.
    """
    text = without_secrets(str(error))
    reason = f"{type(error).__name__}: {text.splitlines()[0] if text else ''}"
    if is_out_of_memory(error):
        return Progress("out_of_memory", 0, reason=f"out of memory: {reason}")
    if isinstance(error, UserError | DataError | RecipeError | NetworkError):
        return Progress("failed", 0, reason=text)
    with contextlib.suppress(OSError):  # What is wrong may be the disk.
        folder.mkdir(parents=True, exist_ok=True)
        trace = without_secrets("".join(traceback.format_exception(error)))
        (folder / "error.txt").write_text(trace)
    return Progress("failed", 0, reason=f"{reason} (traceback: {folder / 'error.txt'})")

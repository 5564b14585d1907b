"""Runs one job in the process it is given: trains, records, seals, publishes. Knows no Ray."""

from __future__ import annotations

import math
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from algorithms import RecipeError
from episodes.episode import TaskDistribution
from networks import NetworkError
from search.config import Config
from search.errors import UserError
from search.jobs import Progress
from search.records import Interval
from search.training import Report, meta_train
from search.trial_folder import TrialFolder

SEAL_SECONDS = 20.0
RESULT = "result"


def run_job(
    config: Config,
    distribution: TaskDistribution,
    folder: TrialFolder,
    publish: Callable[[TrialFolder], Any],
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[Progress]:
    """Run a configuration in its folder, going on from what is sealed there.

    Episodes and checkpoint are sealed together at every rung, at the end, and every 20 seconds in
    between; `publish` then sends what was sealed. A divergence, lack of memory and a failure are
    told as such, never raised.
    """
    sealed_at = clock()
    try:
        snapshot = folder.resume(config)
        if snapshot is not None and RESULT in snapshot.state:
            publish(folder)
            yield Progress(**snapshot.state[RESULT])
            return
        for report in meta_train(config, distribution, snapshot):
            progress = _progress(report)
            folder.add(report.records)
            if report.phase != "train" or clock() - sealed_at >= SEAL_SECONDS:
                if progress.ended:
                    report.snapshot.state[RESULT] = _json(progress)
                folder.seal(report.snapshot, config)
                publish(folder)
                sealed_at = clock()
            yield progress
    except Exception as error:
        yield _failure(error, folder.path)


def _progress(report: Report) -> Progress:
    return Progress(
        phase=report.phase,
        episodes=report.episodes,
        value=report.validation.mean if report.validation else math.nan,
        history=list(report.snapshot.state["history"]),
        summaries=summaries(report),
        reason=report.reason,
    )


def summaries(report: Report) -> dict[str, float]:
    """Return the numbers that a run is summarized by, as "validation_mean", "train_seconds"..."""
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
    return {name: value for name, value in numbers.items() if math.isfinite(value)}


def _json(progress: Progress) -> dict[str, Any]:
    """Return a progress as strict JSON values: a value that is not finite is left out."""
    fields = progress.to_dict()
    if not math.isfinite(progress.value):
        del fields["value"]
    return fields


def _failure(error: Exception, folder: Path) -> Progress:
    """Tell lack of memory, which the configuration can be blamed for, from everything else.

    A traceback is kept of what is not a user's to mend.
    """
    reason = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
    if is_out_of_memory(error):
        return Progress("out_of_memory", 0, reason=f"out of memory: {reason}")
    if isinstance(error, UserError | RecipeError | NetworkError):
        return Progress("failed", 0, reason=str(error))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "error.txt").write_text("".join(traceback.format_exception(error)))
    return Progress("failed", 0, reason=f"{reason} (traceback: {folder / 'error.txt'})")


def is_out_of_memory(error: Exception) -> bool:
    """Whether a device or the host had no memory left for a tensor."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)

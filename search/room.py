"""What each job is given of the cluster: processors, a share of a GPU, memory."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from search.errors import UserError
from search.jobs import Job

MARGIN = 1.25
"""The largest trial of a kind may take so many times what the largest so far has taken."""

CONTEXT_MB = 700.0
"""What a process takes of a GPU before its first tensor: CUDA's context and kernels."""

STEP = 20
"""Shares of a GPU are twentieths: trials of nearly the same size can then follow one another."""


@dataclass(frozen=True)
class Resources:
    """CPUs, GPUs and GB of memory: what one trial is given, or what there is.

    gpu: "auto" measures trials, and gives each what its kind has needed.
    memory_gb: None where it is not counted.
    """

    cpu: float
    gpu: float | Literal["auto"]
    memory_gb: float | None = None


class Room:
    """Decides what each job is given, and learns from what jobs have taken.

    With `gpu: auto` the first trial of an algorithm on a network has a GPU for itself, and the next
    ones wait until it has told its peak: a share that holds the largest, and a margin, is theirs.
    It evaluates before it trains, so that they need not wait for its first rung, or its end.
    most_memory_gb: returns that of the largest node, as a cluster is at the moment; what asks for
        more would wait for ever.
    """

    def __init__(
        self, resources: Resources, most_memory_gb: Callable[[], float] = lambda: math.inf
    ):
        self._resources = resources
        self._most_memory_gb = most_memory_gb
        self._peaks: dict[tuple[str, str], float] = {}
        self._measured: dict[tuple[str, str], str] = {}

    def is_awaited(self, job: Job) -> bool:
        """Whether what a job needs is about to be known, from another one of its kind."""
        return self._measured.get(_kind(job), job.name) != job.name

    def measures(self, job: Job) -> bool:
        """Whether it is this job from which others are to learn what they need."""
        return self._measured.get(_kind(job)) == job.name

    def of(self, job: Job) -> dict[str, float]:
        """Return what Ray is asked for: CPU, GPU, and memory in bytes where it is counted."""
        if self._resources.gpu == "auto" and _kind(job) not in self._peaks:
            self._measured[_kind(job)] = job.name
        wanted = {"CPU": self._resources.cpu, "GPU": self._gpu(job)}
        if self._resources.memory_gb is not None and not wanted["GPU"]:
            usual = self._resources.memory_gb
            memory = usual
            if job.room > 1:
                memory = min(usual * job.room, max(usual, self._most_memory_gb()))
            wanted["memory"] = float(int(memory * 1e9))
        return {name: amount for name, amount in wanted.items() if amount}

    def learn(self, job: Job, numbers: Mapping[str, float]) -> None:
        """Take note of the peak so far that a job tells, as a part of its device's memory.

        A job that tells none, such as one that failed, or is lost, lets the next be measured.
        """
        if self.measures(job):
            del self._measured[_kind(job)]
        device = numbers.get("device_memory_mb", math.nan)
        peak = numbers.get("peak_memory_mb", math.nan)
        if math.isfinite(device) and math.isfinite(peak):
            part = (MARGIN * peak + CONTEXT_MB) / device
            self._peaks[_kind(job)] = max(part, self._peaks.get(_kind(job), 0.0))

    def _gpu(self, job: Job) -> float:
        if self._resources.gpu != "auto":
            share = self._resources.gpu
        else:
            known = self._peaks.get(_kind(job))
            share = 1.0 if known is None else min(1.0, math.ceil(known * STEP) / STEP)
        # More than one GPU is whole ones, and each has all of its memory already.
        return min(1.0, share * job.room) if share < 1 else share


def _kind(job: Job) -> tuple[str, str]:
    return job.config.algorithm, job.config.network


def how_many(wanted: Mapping[str, float], have: Mapping[str, float]) -> int:
    """Return how many jobs that ask for `wanted` fit what one node has."""
    # Shares of a GPU add up to a little more or less than one.
    return min(int(have.get(name, 0.0) / amount + 1e-9) for name, amount in wanted.items())


def check(resources: Resources, have: Resources) -> None:
    """Raise UserError where one trial asks for more than a machine that stands alone has."""
    asked = {"cpu": (resources.cpu, have.cpu)}
    if resources.gpu != "auto":
        asked["gpu"] = (resources.gpu, have.gpu if have.gpu != "auto" else 0.0)
    if resources.memory_gb is not None and have.memory_gb is not None and not resources.gpu:
        asked["memory_gb"] = (resources.memory_gb, have.memory_gb)
    for name, (wanted, there) in asked.items():
        if wanted > there:
            raise UserError(
                f"resources.{name}: {wanted:g}: more than there is; this machine has {there:g}"
            )


def trials_that_fit(resources: Resources, have: Resources) -> int | None:
    """Return how many trials run at once; None where that changes with what is measured."""
    if resources.gpu == "auto":
        return None
    fit = have.cpu // resources.cpu
    if resources.gpu and have.gpu != "auto":
        fit = min(fit, have.gpu // resources.gpu)
    elif resources.memory_gb is not None and have.memory_gb is not None:
        fit = min(fit, have.memory_gb // resources.memory_gb)
    return int(fit)

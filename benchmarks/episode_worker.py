"""One source of episodes in a process of its own, as `benchmarks.worker` for meta-gradients.

Started by `benchmarks.remote` as `python -m benchmarks.episode_worker NAME DEVICE THREADS`.
Commands:

- import: load the library; answers with its versions;
- build: make a data set ready; answers with what its first batch looks like;
- time: draw batches until some seconds are over, at least once; answers with the number of
  episodes, the seconds on the wall, and those of processor time, of worker processes too.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from benchmarks import process
from benchmarks.loaders import WORKS, Source, Work, load
from benchmarks.loaders.work import BATCH
from benchmarks.worker import Reply, serve

WAIT, IDLE = 0.5, 0.02
"""Seconds between looks at worker processes, and of processor time that the idle take meanwhile."""


class EpisodeWorker:
    """The state between commands."""

    def __init__(self, name: str, threads: int):
        self._name = name
        self._threads = threads
        self._make: Callable[[Work, Path], Source]
        self._source: Source

    def do_import(self) -> Reply:
        """Load the library."""
        torch.set_num_threads(self._threads)
        self._make = load(self._name)
        known = getattr(sys.modules[self._make.__module__], "VERSIONS", {})
        return {"versions": process.versions() | known}

    def do_build(self, work: str, folder: str) -> Reply:
        """Make a data set ready, and describe its first batch."""
        self._source = self._make(WORKS[work], Path(folder))
        looks = describe(self._source, next(self._source.batches))
        rest()
        return looks

    def do_time(self, seconds: float) -> Reply:
        """Draw for so long, once nothing is left of what workers had made ready meanwhile."""
        batches = self._source.batches
        for _ in range(self._source.ahead):
            next(batches)
        drawn, began, cpu_began = 0, time.perf_counter(), processor_seconds()
        while drawn == 0 or time.perf_counter() - began < seconds:
            next(batches)
            drawn += 1
        timed = {
            "episodes": drawn * BATCH,
            "wall": time.perf_counter() - began,
            "cpu": processor_seconds() - cpu_began,
        }
        rest()
        return timed


def describe(source: Source, batch: Any) -> Reply:
    """Tell what a batch looks like, so that all can be held to deliver the same.

    images: of each episode. labels: whether each of its labels is on as many of them.
    """
    parts = source.images(batch)
    images = torch.cat([images for images, _ in parts], dim=1)
    labels = torch.cat([labels for _, labels in parts], dim=1)
    low, high = float(images.min()), float(images.max())
    each = [torch.bincount(of_episode).tolist() for of_episode in labels]
    return {
        "episodes": len(images),
        "images": images.shape[1],
        "shape": list(images.shape[2:]),
        "type": str(images.dtype),
        "from 0 to 1": 0 <= low < high <= 1 and high > 0.5,
        "labels": each[0] if all(counts == each[0] for counts in each) else each,
    }


def processor_seconds() -> float:
    """Return the processor time that this process and its living children have had."""
    ticks = os.sysconf("SC_CLK_TCK")
    had = time.process_time()
    for child in multiprocessing.active_children():
        # The name of the program, in brackets, may hold spaces; times come 12 fields later.
        fields = Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()
        had += (int(fields[11]) + int(fields[12])) / ticks
    return had


def rest() -> None:
    """Wait until worker processes have made ready all they may, so that others have their turn."""
    if multiprocessing.active_children():
        had, now = -1.0, processor_seconds()
        while now - had > IDLE:
            time.sleep(WAIT)
            had, now = now, processor_seconds()


if __name__ == "__main__":
    serve(EpisodeWorker(sys.argv[1], int(sys.argv[3])))

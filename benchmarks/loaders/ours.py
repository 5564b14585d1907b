"""metasweep's task distributions: asked for meta-batches, and by way of the loader of them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import count
from pathlib import Path

from torch import Tensor

from benchmarks.loaders.work import BATCH, QUERY_SHOTS, SHOTS, WAYS, Source, Work
from episodes import EpisodeLoader, load
from episodes.episode import Episodes, TaskDistribution


def sampled(work: Work, folder: Path) -> Source:
    """Ask for the next episodes again and again, as a training does."""
    task = _task(work, folder)

    def batches() -> Iterator[Episodes]:
        for first in count(0, BATCH):
            yield task.sample("train", 0, range(first, first + BATCH))

    return Source(batches(), _images)


def loaded(work: Work, folder: Path) -> Source:
    """Iterate over a loader."""
    loader = EpisodeLoader(_task(work, folder), "train", seed=0, batch_size=BATCH)
    return Source(iter(loader), _images)


def _task(work: Work, folder: Path) -> TaskDistribution:
    data = None  # Omniglot lies where METASWEEP_DATA says
    if work.name != "omniglot":
        data = folder
        os.environ["METASWEEP_CACHE"] = str(folder / "cache")  # not to stay behind
    return load(work.name, ways=WAYS, shots=SHOTS, query_shots=QUERY_SHOTS, data=data)


def _images(batch: Episodes) -> list[tuple[Tensor, Tensor]]:
    return [(part.inputs, part.targets) for part in (batch.support, batch.query)]

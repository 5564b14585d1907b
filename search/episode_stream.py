"""Training episodes as they are drawn, and as they are recorded."""

from __future__ import annotations

import math

import numpy as np

from algorithms import Diagnostics
from episodes.episode import Episodes, TaskDistribution
from search.records import EpisodeRecords

DRAWN_AT_ONCE = 512


class EpisodeStream:
    """Training episodes in order of their index, drawn ahead in blocks."""

    def __init__(self, distribution: TaskDistribution, seed: int):
        self._distribution = distribution
        self._seed = seed
        self._first = 0
        self._block: Episodes | None = None
        small = math.prod(distribution.input_shape) <= 64
        self._ahead = DRAWN_AT_ONCE if small else 1

    def take(self, first: int, count: int) -> Episodes:
        """Return episodes first, ..., first + count - 1."""
        offset = first - self._first
        if self._block is None or offset < 0 or offset + count > len(self._block):
            ahead = range(first, first + max(count, self._ahead))
            self._block = self._distribution.sample("train", self._seed, ahead)
            self._first, offset = first, 0
        return self._block[offset : offset + count]


def training_rows(
    episodes: Episodes, diagnostics: Diagnostics, seconds: float, seen: int, seeds: list[int]
) -> EpisodeRecords:
    """Return the rows of a batch of training episodes, equally many of each seed.

    seconds: wall time of one; seen: training episodes of a seed seen after this batch.
    """
    count = len(episodes)
    missing = np.full(count, np.nan)
    accuracy = diagnostics.get("query_accuracy")
    return EpisodeRecords(
        split=np.full(count, "train", dtype="U10"),
        index=episodes.index.cpu().numpy(),
        seed=np.repeat(np.array(seeds, dtype=np.int64), count // len(seeds)),
        episodes_seen=np.full(count, seen, dtype=np.int64),
        seconds=np.full(count, seconds),
        classes=episodes.classes.cpu().numpy(),
        loss_before=missing,
        loss_after=diagnostics["query_loss"].double().cpu().numpy(),
        accuracy_before=missing,
        accuracy_after=missing if accuracy is None else accuracy.double().cpu().numpy(),
        loss_curve=np.empty((count, 0)),
        accuracy_curve=np.empty((count, 0)),
    )

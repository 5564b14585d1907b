"""Training episodes as they are drawn, and as they are recorded."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from algorithms import Diagnostics
from episodes.episode import Episodes, TaskDistribution
from search.records import EpisodeRecords

DRAWN_AT_ONCE = 4096


@dataclass(frozen=True)
class Trained:
    """A batch that was trained on: what is kept of it, which is not its examples.

    index: (T,) int64; classes: (T, ways) int64, both as in its `Episodes`.
    seconds: wall time of one episode; seen: training episodes of a seed seen after this batch.
    """

    index: torch.Tensor
    classes: torch.Tensor
    diagnostics: Diagnostics
    seconds: float
    seen: int


class EpisodeStream:
    """Training episodes in order of their index, drawn ahead in blocks of whole batches.

    episodes: how many there will be asked for; None where that is not known.
    """

    def __init__(
        self,
        distribution: TaskDistribution,
        seed: int,
        batch: int = 1,
        episodes: int | None = None,
    ):
        self._distribution = distribution
        self._seed = seed
        self._first = 0
        self._batch = batch
        self._block: Episodes | None = None
        self._drawn = 0
        self._cut: list[Episodes] = []
        small = math.prod(distribution.input_shape) <= 64
        # Whole batches, so that none is drawn twice.
        self._ahead = batch * max(1, DRAWN_AT_ONCE // batch) if small else 1
        self._last = episodes

    def take(self, first: int, count: int) -> Episodes:
        """Return episodes first, ..., first + count - 1."""
        offset = first - self._first
        if self._block is None or offset < 0 or offset + count > self._drawn:
            known = self._ahead if self._last is None else min(self._ahead, self._last - first)
            ahead = range(first, first + max(count, known))
            self._block = self._distribution.sample("train", self._seed, ahead)
            # Cut at once: slicing six tensors a batch takes about as long as drawing them.
            self._cut = self._block.split(self._batch)
            self._first, self._drawn, offset = first, len(ahead), 0
        place, beside = divmod(offset, self._batch)
        if count == self._batch and beside == 0:
            return self._cut[place]
        return self._block[offset : offset + count]


def training_rows(
    batches: Sequence[Trained], seeds: Sequence[int], score: str | None
) -> EpisodeRecords:
    """Return the rows of training episodes, batch by batch, equally many of each seed in each.

    score: what the problem is judged by beside the loss, such as "accuracy"; None for nothing.
        Whatever else an algorithm tells of an episode is not kept.
    """
    counts = [len(batch.index) for batch in batches]
    total = sum(counts)
    missing = np.full(total, np.nan)
    losses = torch.cat([batch.diagnostics["query_loss"] for batch in batches])
    scores = missing
    if score is not None:
        told = torch.cat([batch.diagnostics[f"query_{score}"] for batch in batches])
        scores = told.cpu().double().numpy()
    owners = [np.repeat(np.array(seeds, dtype=np.int64), count // len(seeds)) for count in counts]
    return EpisodeRecords(
        split=np.full(total, "train", dtype="U10"),
        index=torch.cat([batch.index for batch in batches]).cpu().numpy(),
        seed=np.concatenate(owners) if len(seeds) > 1 else np.full(total, seeds[0]),
        episodes_seen=np.repeat(np.array([batch.seen for batch in batches]), counts),
        seconds=np.repeat(np.array([batch.seconds for batch in batches]), counts),
        classes=torch.cat([batch.classes for batch in batches]).cpu().numpy(),
        loss_before=missing,
        loss_after=losses.cpu().double().numpy(),
        score_before=missing,
        score_after=scores,
        loss_curve=np.empty((total, 0)),
        score_curve=np.empty((total, 0)),
    )

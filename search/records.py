"""Episode records: one row an episode, in arrays, as training and evaluation produce them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Literal

import numpy as np

RecordSplit = Literal["train", "rung", "validation", "test"]


@dataclass(frozen=True)
class EpisodeRecords:
    """N rows of the episode table.

    split: (N,) str. "rung" and "validation" are both drawn from meta-validation classes: the small
        set judged at each rung, and the one that ranks.
    index: (N,) int64, the episode's index within its split and evaluation set.
    seed: (N,) int64, the seed of the learner: that of its initialization and training episodes.
    episodes_seen: (N,) int64, training episodes seen when the row was made.
    seconds: (N,) float64, wall seconds of the batch it ran in, shared equally.
    classes: (N, ways) int64 class ids within the split; (N, 0) for regression.
    loss_before, accuracy_before: (N,) float64 on the query set before adaptation; NaN for training
        episodes and where there is no accuracy.
    loss_after, accuracy_after: (N,) float64, after adaptation.
    loss_curve, accuracy_curve: (N, steps + 1) float64, after each inner step; (N, 0) for training.
    """

    split: np.ndarray
    index: np.ndarray
    seed: np.ndarray
    episodes_seen: np.ndarray
    seconds: np.ndarray
    classes: np.ndarray
    loss_before: np.ndarray
    loss_after: np.ndarray
    accuracy_before: np.ndarray
    accuracy_after: np.ndarray
    loss_curve: np.ndarray
    accuracy_curve: np.ndarray

    def __len__(self) -> int:
        return len(self.index)

    def metric(self, name: str) -> np.ndarray:
        """Return "query_loss" or "query_accuracy" after adaptation, a value an episode.

        Where several seeds were judged on the same episodes, an episode's value is their mean.
        """
        values = {"query_loss": self.loss_after, "query_accuracy": self.accuracy_after}[name]
        seeds = len(np.unique(self.seed))
        if seeds < 2:
            return values
        order = np.argsort(self.index, kind="stable")
        return values[order].reshape(-1, seeds).mean(1)

    def of(self, split: RecordSplit) -> EpisodeRecords:
        """Return the rows of one split."""
        rows = self.split == split
        return EpisodeRecords(**{f.name: getattr(self, f.name)[rows] for f in fields(self)})


def concatenate(parts: Sequence[EpisodeRecords]) -> EpisodeRecords:
    """Join records row-wise. All parts must have curves of one length (one split each)."""
    return EpisodeRecords(
        **{
            f.name: np.concatenate([getattr(part, f.name) for part in parts])
            for f in fields(EpisodeRecords)
        }
    )


@dataclass(frozen=True)
class Interval:
    """A mean over n episodes and its 95 % confidence interval (normal approximation)."""

    mean: float
    ci95_low: float
    ci95_high: float
    n: int


def interval(values: np.ndarray) -> Interval:
    """Summarize one value per episode. The interval covers the draw of episodes, nothing else."""
    n = len(values)
    mean = float(np.mean(values)) if n else math.nan
    half = 1.96 * float(np.std(values, ddof=1)) / math.sqrt(n) if n > 1 else math.nan
    return Interval(mean, mean - half, mean + half, n)

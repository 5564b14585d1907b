"""Episode records: one row an episode, in arrays, as training and evaluation produce them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
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
    loss_before, score_before: (N,) float64 on the query set before adaptation; NaN for training
        episodes and where the problem has no score.
    loss_after, score_after: (N,) float64, after adaptation.
    loss_curve, score_curve: (N, steps + 1) float64, after each inner step; (N, 0) for training.
    measures: (N,) float64 by name, after adaptation: what else the task's meta-test episodes are
        judged by (`episodes.episode.Measures`); empty for all other rows.
    """

    split: np.ndarray
    index: np.ndarray
    seed: np.ndarray
    episodes_seen: np.ndarray
    seconds: np.ndarray
    classes: np.ndarray
    loss_before: np.ndarray
    loss_after: np.ndarray
    score_before: np.ndarray
    score_after: np.ndarray
    loss_curve: np.ndarray
    score_curve: np.ndarray
    measures: Mapping[str, np.ndarray] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.index)

    def metric(self, name: str) -> np.ndarray:
        """Return "query_loss", a score such as "query_accuracy", or a measure by its name.

        A value an episode, after adaptation. Where several seeds were judged on the same
        episodes, an episode's value is their mean.
        """
        if name in self.measures:
            values = self.measures[name]
        else:
            values = self.loss_after if name == "query_loss" else self.score_after
        seeds = len(np.unique(self.seed))
        if seeds < 2:
            return values
        order = np.argsort(self.index, kind="stable")
        return values[order].reshape(-1, seeds).mean(1)

    def pooled(self) -> dict[str, float]:
        """Return what is not a mean over episodes but of the pixels of all rows, by name.

        `class_iou` and `fb_iou` of `episodes.iou`, as far as the rows measure the masks for it.
        """
        from episodes.iou import BOTH_OVERLAPS, OVERLAPS, class_mean_iou, fb_iou

        found = {}
        if set(OVERLAPS) <= set(self.measures):
            overlaps = (self.measures[name] for name in OVERLAPS)
            found["class_iou"] = class_mean_iou(self.classes[:, 0], *overlaps)
        if set(BOTH_OVERLAPS) <= set(self.measures):
            found["fb_iou"] = fb_iou(*(self.measures[name] for name in BOTH_OVERLAPS))
        return found

    def of(self, split: RecordSplit) -> EpisodeRecords:
        """Return the rows of one split."""
        rows = self.split == split
        measures = {name: values[rows] for name, values in self.measures.items()}
        columns = {name: getattr(self, name)[rows] for name in COLUMNS}
        return EpisodeRecords(**columns, measures=measures)


COLUMNS = tuple(column.name for column in fields(EpisodeRecords) if column.name != "measures")


def concatenate(parts: Sequence[EpisodeRecords]) -> EpisodeRecords:
    """Join records row-wise. All parts must have curves of one length (one split each)."""
    columns = {name: np.concatenate([getattr(part, name) for part in parts]) for name in COLUMNS}
    measures = {
        name: np.concatenate([part.measures[name] for part in parts]) for name in parts[0].measures
    }
    return EpisodeRecords(**columns, measures=measures)


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

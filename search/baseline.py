"""What one gets without learning anything: a trial has to be clearly above it to mean something."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from episodes.episode import Episodes, Split, TaskDistribution
    from search.config import Problem

NAMES = {
    "classification": "chance",
    "regression": "support mean",
    "segmentation": "all class",
    "translation": "support symbols",
}
"""What stands for a kind of problem in its leaderboard: the strongest of what does not learn."""

OTHERS: dict[str, dict[str, str]] = {"segmentation": {"background": "all background"}}
"""The weaker ones, by the end of their keys."""

KEYS = tuple(
    f"{split}_baseline{end}"
    for end in ("", *(f"_{key}" for others in OTHERS.values() for key in others))
    for split in ("validation", "test")
)
"""All keys of all kinds, as in a run's summaries."""

BATCH = 200

Judge = Callable[["Episodes"], "Tensor"]
"""From a batch of episodes to a value for each, (T,)."""


def baseline(problem: Problem, distribution: TaskDistribution) -> dict[str, float]:
    """Return the problem's metric of who does not learn, on the same episodes as trials have.

    Classification: the accuracy of guessing, 1 / ways. Regression: the loss (mean squared error)
    of predicting for every query the mean of the support targets. Segmentation: the IoU of marking
    every pixel as the class, which is the class's share of them, and that of marking none.
    Translation: the loss of predicting every symbol by how often it is in the support targets,
    mixed with all symbols alike in equal parts.
    All but guessing are over the episodes that trials are ranked by, and over those of meta-test.
    Keys as in a run's summaries: `validation_baseline`, `test_baseline`; of a weaker one, see
    `OTHERS`, `validation_baseline_background`, ...
    """
    if problem.kind == "classification" and problem.ways:
        return dict.fromkeys(("validation_baseline", "test_baseline"), 1 / problem.ways)
    judges: dict[str, Judge] = {"": _support_mean}
    if problem.kind == "segmentation":
        judges = {"": _all_class, "_background": _all_background}
    if problem.kind == "translation":
        judges = {"": functools.partial(_symbol_frequencies, outputs=distribution.outputs)}
    first = problem.rung_episodes
    episodes: dict[Split, range] = {
        "validation": range(first, first + problem.ranking_episodes),
        "test": range(problem.test_episodes),
    }
    found: dict[str, float] = {}
    for split, indices in episodes.items():
        means = _means(problem, distribution, split, indices, list(judges.values()))
        found |= {f"{split}_baseline{end}": m for end, m in zip(judges, means, strict=True)}
    return found


def _means(
    problem: Problem,
    distribution: TaskDistribution,
    split: Split,
    episodes: range,
    judges: list[Judge],
) -> list[float]:
    """Return the mean of each judge's values over episodes, which are drawn once."""
    totals = [0.0] * len(judges)
    for start in range(episodes.start, episodes.stop, BATCH):
        some = range(start, min(start + BATCH, episodes.stop))
        batch = distribution.sample(split, problem.evaluation_seed, some)
        for place, judge in enumerate(judges):
            totals[place] += float(judge(batch).sum())
    return [total / len(episodes) for total in totals]


def _support_mean(batch: Episodes) -> Tensor:
    guess = batch.support.targets.double().mean(dim=1, keepdim=True)
    return (batch.query.targets.double() - guess).square().flatten(1).mean(dim=1)


def _all_class(batch: Episodes) -> Tensor:
    return _marking(batch.query.targets, True)


def _all_background(batch: Episodes) -> Tensor:
    return _marking(batch.query.targets, False)


def _marking(targets: Tensor, everything: bool) -> Tensor:
    """Return the IoU of marking every pixel, or none, of (T, N, H, W) targets."""
    import torch

    from episodes.iou import iou, overlaps

    marked = torch.full_like(targets, everything, dtype=torch.bool)
    return iou(*overlaps(marked, targets == 1, targets >= 0), torch.float64)


def _symbol_frequencies(batch: Episodes, outputs: int) -> Tensor:
    """Return the (T,) loss of predicting each symbol by its frequency in the support targets."""
    from episodes.episode import IGNORED

    support, query = batch.support.targets.flatten(1), batch.query.targets.flatten(1)
    # Whatever is ignored is counted behind the last symbol, where nothing is looked up.
    spare = support.new_full((), outputs)
    counts = support.new_zeros(len(batch), outputs + 1).double()
    places = support.where(support != IGNORED, spare)
    counts.scatter_add_(1, places, counts.new_ones(places.shape))
    counts = counts[:, :outputs]
    chances = (counts / counts.sum(1, keepdim=True) + 1 / outputs) / 2
    asked = query != IGNORED
    losses = -chances.gather(1, query.where(asked, 0)).log()
    return losses.where(asked, 0.0).sum(1) / asked.sum(1)

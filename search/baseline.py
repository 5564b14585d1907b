"""What one gets without learning anything: a trial has to be clearly above it to mean something."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from episodes.episode import Episodes, Split, TaskDistribution
    from search.config import Problem

NAMES = {
    "classification": "chance",
    "regression": "support mean",
    "translation": "support symbols",
}
BATCH = 200


def baseline(problem: Problem, distribution: TaskDistribution) -> dict[str, float]:
    """Return the problem's metric of who does not learn, on the same episodes as trials have.

    Classification: the accuracy of guessing, 1 / ways. Regression: the loss (mean squared error)
    of predicting for every query the mean of the support targets, over the episodes that trials are
    ranked by and over those of meta-test. Translation: the same of predicting every symbol by how
    often it is in the support targets, mixed with all symbols alike in equal parts.
    Keys as in a run's summaries: `validation_baseline`, `test_baseline`.
    """
    if problem.kind == "classification" and problem.ways:
        return dict.fromkeys(("validation_baseline", "test_baseline"), 1 / problem.ways)
    first = problem.rung_episodes
    ranking = range(first, first + problem.ranking_episodes)
    return {
        "validation_baseline": _mean(problem, distribution, "validation", ranking),
        "test_baseline": _mean(problem, distribution, "test", range(problem.test_episodes)),
    }


def _mean(problem: Problem, distribution: TaskDistribution, split: Split, episodes: range) -> float:
    losses = _symbol_frequencies if problem.kind == "translation" else _support_mean
    total = 0.0
    for start in range(episodes.start, episodes.stop, BATCH):
        some = range(start, min(start + BATCH, episodes.stop))
        batch = distribution.sample(split, problem.evaluation_seed, some)
        total += float(losses(batch, distribution.outputs).sum())
    return total / len(episodes)


def _support_mean(batch: Episodes, outputs: int) -> Tensor:
    """Return the (T,) loss of predicting the mean of the support targets."""
    guess = batch.support.targets.double().mean(dim=1, keepdim=True)
    return (batch.query.targets.double() - guess).square().flatten(1).mean(dim=1)


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

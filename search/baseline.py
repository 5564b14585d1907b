"""What one gets without learning anything: a trial has to be clearly above it to mean something."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from episodes.episode import Split, TaskDistribution
    from search.config import Problem

NAMES = {"classification": "chance", "regression": "support mean"}
BATCH = 200


def baseline(problem: Problem, distribution: TaskDistribution) -> dict[str, float]:
    """Return the problem's metric of who does not learn, on the same episodes as trials have.

    Classification: the accuracy of guessing, 1 / ways. Regression: the loss (mean squared error)
    of predicting for every query the mean of the support targets, over the episodes that trials are
    ranked by and over those of meta-test.
    Keys as in a run's summaries: `validation_baseline`, `test_baseline`.
    """
    if problem.kind == "classification" and problem.ways:
        return dict.fromkeys(("validation_baseline", "test_baseline"), 1 / problem.ways)
    first = problem.rung_episodes
    return {
        "validation_baseline": _support_mean(
            problem, distribution, "validation", range(first, first + problem.ranking_episodes)
        ),
        "test_baseline": _support_mean(problem, distribution, "test", range(problem.test_episodes)),
    }


def _support_mean(
    problem: Problem, distribution: TaskDistribution, split: Split, episodes: range
) -> float:
    total = 0.0
    for start in range(episodes.start, episodes.stop, BATCH):
        some = range(start, min(start + BATCH, episodes.stop))
        batch = distribution.sample(split, problem.evaluation_seed, some)
        guess = batch.support.targets.double().mean(dim=1, keepdim=True)
        errors = (batch.query.targets.double() - guess).square().flatten(1).mean(dim=1)
        total += float(errors.sum())
    return total / len(episodes)

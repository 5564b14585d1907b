from __future__ import annotations

from dataclasses import replace

import pytest

from episodes import load
from search.baseline import baseline
from tests.search.small_runs import distribution, small_config


def test_of_a_classification_is_chance() -> None:
    config = small_config("maml", "classification")
    found = baseline(config.problem, distribution("classification"))
    assert found == {"validation_baseline": 1 / 3, "test_baseline": 1 / 3}


def test_of_a_regression_predicts_the_mean_of_the_support() -> None:
    """Sines of all amplitudes: a mean of 10 points errs by the variance and a tenth of it."""
    usual = small_config("maml", "regression").problem
    problem = replace(usual, ranking_episodes=20_000, test_episodes=20_000)
    found = baseline(problem, load("sinusoid", shots=10, query_shots=10))
    # Half of the mean square of an amplitude uniform on 0.1 to 5, but for the phase's share.
    assert found["validation_baseline"] == pytest.approx(found["test_baseline"], rel=0.05)
    assert 3.5 < found["test_baseline"] < 4.9


def test_is_taken_over_the_episodes_that_trials_have() -> None:
    config = small_config("maml", "regression")
    problem, source = config.problem, load("sinusoid", shots=10, query_shots=10)
    found = baseline(problem, source)
    first, count = problem.rung_episodes, problem.ranking_episodes
    errors = []
    for index in range(first, first + count):
        episode = source.sample("validation", problem.evaluation_seed, range(index, index + 1))
        guess = episode.support.targets.mean()
        errors.append(float((episode.query.targets - guess).square().mean()))
    assert found["validation_baseline"] == pytest.approx(sum(errors) / count, rel=1e-5)

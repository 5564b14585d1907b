from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from algorithms.engine import Formulation
from episodes.episode import Episodes, Kind, Split
from search.config import Config
from search.evaluation import Learner, evaluate, indices, measured_steps
from search.records import EpisodeRecords, RecordSplit
from search.training import build, hyperparameters
from tests.search.small_runs import NoisyPrototypes, distribution, small_config


def learner_of(config: Config, kind: Kind, steps: int) -> Learner:
    algorithm, loss = build(config, distribution(kind))
    hyper = hyperparameters(config, torch.device("cpu"))
    meta, state = algorithm.init(hyper, torch.Generator().manual_seed(config.seed))
    return Learner(algorithm, loss, hyper, meta, state, steps)


def evaluated(
    algorithm: str = "maml",
    kind: Kind = "regression",
    split: RecordSplit = "rung",
    steps: int = 3,
    chunk: int = 100,
    **options: Any,
) -> EpisodeRecords:
    config = small_config(algorithm, kind)
    return evaluate(
        learner_of(config, kind, steps),
        options.pop("distribution", distribution(kind)),
        config.problem,
        split,
        Formulation(chunk),
        device=torch.device("cpu"),
        episodes_seen=24,
        seed=config.seed,
        **options,
    )


@pytest.mark.parametrize("steps", [0, 1, 2, 9, 10, 11, 15, 50, 100, 1001])
def test_measured_steps_hold_both_ends_and_are_spread_evenly(steps: int) -> None:
    found = measured_steps(steps)
    assert found[0] == 0
    assert found[-1] == steps
    assert len(found) == min(steps + 1, 11)
    gaps = np.diff(found)
    if steps:
        assert gaps.min() >= 1
        assert gaps.max() - gaps.min() <= 1


def test_no_episode_is_both_a_rung_and_a_ranking_one() -> None:
    problem = replace(small_config().problem, rung_episodes=200, ranking_episodes=600)
    rung, ranking = indices(problem, "rung"), indices(problem, "validation")
    assert (len(rung), len(ranking)) == (200, 600)
    assert not set(rung) & set(ranking)
    assert indices(problem, "test") == range(problem.test_episodes)


class Noting(NoisyPrototypes):
    """Notes which episodes are drawn."""

    def __init__(self) -> None:
        self.drawn: list[tuple[Split, int, int]] = []

    def sample(self, split: Split, seed: int, indices: np.ndarray | range) -> Episodes:
        self.drawn += [(split, seed, int(index)) for index in indices]
        return super().sample(split, seed, indices)


def test_two_learners_are_judged_on_the_same_episodes() -> None:
    split: RecordSplit
    for split, source in (("rung", "validation"), ("validation", "validation"), ("test", "test")):
        drawn = []
        for algorithm, steps in (("maml", 1), ("reptile", 4)):
            noting = Noting()
            evaluated(algorithm, "classification", split, steps, 2, distribution=noting)
            drawn.append(noting.drawn)
        assert drawn[0] == drawn[1]
        assert drawn[0] == [(source, 0, i) for i in indices(small_config().problem, split)]


def test_a_row_says_what_was_measured() -> None:
    records = evaluated(kind="classification", split="test")
    assert records.index.tolist() == [0, 1, 2, 3, 4, 5]
    assert set(records.split) == {"test"}
    assert set(records.episodes_seen) == {24}
    assert set(records.seed) == {small_config().seed}
    assert (records.seconds > 0).all()
    drawn = NoisyPrototypes().sample("test", 0, range(6))
    np.testing.assert_array_equal(records.classes, drawn.classes)


@pytest.mark.parametrize("kind", ["regression", "classification"])
def test_a_curve_leads_from_before_to_after(kind: Kind) -> None:
    records = evaluated(kind=kind, steps=3)
    assert records.loss_curve.shape == records.score_curve.shape == (4, 4)
    np.testing.assert_array_equal(records.loss_before, records.loss_curve[:, 0])
    np.testing.assert_array_equal(records.loss_after, records.loss_curve[:, -1])
    np.testing.assert_array_equal(records.score_after, records.score_curve[:, -1])
    assert np.isfinite(records.loss_curve).all()
    assert np.isfinite(records.score_curve).all() == (kind == "classification")


def test_a_point_of_the_curve_is_adaptation_by_so_many_steps() -> None:
    curve = evaluated(steps=14).loss_curve
    unmeasured = [step for step in range(15) if step not in measured_steps(14)]
    assert np.isnan(curve[:, unmeasured]).all()
    for steps in measured_steps(14):
        np.testing.assert_allclose(curve[:, steps], evaluated(steps=steps).loss_after, rtol=1e-4)


@pytest.mark.parametrize("algorithm", ["maml", "anil", "pretrain", "mt-net", "mamlpp", "matching"])
def test_the_size_of_chunks_does_not_matter(algorithm: str) -> None:
    whole = evaluated(algorithm, "classification")
    for chunk in (1, 3):
        parts = evaluated(algorithm, "classification", chunk=chunk)
        np.testing.assert_array_equal(parts.index, whole.index)
        np.testing.assert_allclose(parts.loss_curve, whole.loss_curve, rtol=1e-4)


def test_other_episodes_can_be_asked_for() -> None:
    some = evaluated(split="test", episodes=range(2, 5))
    assert some.index.tolist() == [2, 3, 4]
    np.testing.assert_allclose(some.loss_after, evaluated(split="test").loss_after[2:5], rtol=1e-5)


def test_learners_of_any_seed_are_judged_under_the_same_noise() -> None:
    """What a learner draws in an episode, as MT-net does, depends on the episode alone."""
    config = small_config("mt-net", "regression")
    learner, tasks = learner_of(config, "regression", 3), distribution("regression")
    first, second = (
        evaluate(
            learner,
            tasks,
            config.problem,
            "rung",
            Formulation(100),
            device=torch.device("cpu"),
            episodes_seen=24,
            seed=seed,
        )
        for seed in (0, 7)
    )
    np.testing.assert_array_equal(first.loss_after, second.loss_after)
    assert list(second.seed) == [7] * len(second.seed)

"""Judging a learner: adapt to fixed episodes and record every one of them."""

from __future__ import annotations

import functools
import time
from dataclasses import dataclass

import numpy as np
import torch

from algorithms.algorithm import Adapted, Algorithm, Hyper
from algorithms.engine import Formulation, chunks
from algorithms.parts import noise
from algorithms.parts.losses import Loss
from algorithms.precision import computing_in
from episodes.episode import Episodes, Examples, Measures, Split, TaskDistribution
from networks.network import Params
from search.config import Problem
from search.records import EpisodeRecords, RecordSplit, concatenate

CURVE_POINTS = 11


@dataclass(frozen=True)
class Learner:
    """A meta-learned state that can adapt: an algorithm with what it has learned."""

    algorithm: Algorithm
    loss: Loss
    hyper: Hyper
    meta: Params
    state: Params
    steps: int


def indices(problem: Problem, split: RecordSplit) -> range:
    """Return the indices of the fixed evaluation episodes of "rung", "validation" or "test".

    The ranking episodes follow those of the rungs: no episode is in both.
    """
    if split == "rung":
        return range(problem.rung_episodes)
    if split == "validation":
        return range(problem.rung_episodes, problem.rung_episodes + problem.ranking_episodes)
    return range(problem.test_episodes)


def evaluate(
    learner: Learner,
    distribution: TaskDistribution,
    problem: Problem,
    split: RecordSplit,
    formulation: Formulation,
    *,
    device: torch.device,
    episodes_seen: int,
    seed: int,
    episodes: range | None = None,
    measuring: bool = False,
) -> EpisodeRecords:
    """Adapt to each fixed episode of a split and measure its query set on the way.

    split: "rung" and "validation" are drawn from meta-validation, "test" from meta-test.
    seed: of the learner, for the record.
    episodes: other indices than the fixed ones of the problem.
    measuring: whether to take what else the distribution measures elsewhere than at meta-test, too.
    Returns a row per episode, with the query loss and score before the first inner step, after the
    last, and as a curve over them (NaN at steps in between that were not measured); at meta-test
    also with what else the distribution measures.
    """
    wanted = indices(problem, split) if episodes is None else episodes
    drawn_from: Split = "test" if split == "test" else "validation"
    parts: list[EpisodeRecords] = []
    size = formulation.chunk
    for first in range(0, len(wanted), size):
        began = time.perf_counter()
        drawn = distribution.sample(
            drawn_from, problem.evaluation_seed, wanted[first : first + size]
        )
        for chunk in chunks(drawn, size):
            keys = noise.keys_of(problem.evaluation_seed, chunk.index)
            moved = chunk.to(device)
            losses, scores, adapted = _curves(learner, moved, keys.to(device))
            seconds = (time.perf_counter() - began) / len(chunk)
            measured = {}
            if (measuring or split == "test") and isinstance(distribution, Measures):
                measured = _measured(learner, distribution, adapted, moved.query)
            parts.append(
                _rows(split, chunk, losses, scores, measured, seconds, episodes_seen, seed)
            )
    return concatenate(parts)


def try_one_chunk(
    learner: Learner,
    distribution: TaskDistribution,
    problem: Problem,
    formulation: Formulation,
    device: torch.device,
) -> None:
    """Do what any evaluation of a trial does with a chunk, for the memory that it takes alone.

    Nothing is drawn from meta-test for it.
    """
    most = max(problem.rung_episodes, problem.ranking_episodes, problem.test_episodes)
    evaluate(
        learner,
        distribution,
        problem,
        "rung",
        formulation,
        device=device,
        episodes_seen=0,
        seed=0,
        episodes=range(min(formulation.chunk, most)),
        measuring=True,
    )


def measured_steps(steps: int) -> list[int]:
    """Return the inner steps at which the query set is measured: all, or 11 of them, evenly."""
    points = min(steps + 1, CURVE_POINTS)
    return sorted({round(i * steps / max(points - 1, 1)) for i in range(points)})


def _curves(
    learner: Learner, episodes: Episodes, keys: torch.Tensor
) -> tuple[np.ndarray, np.ndarray, Adapted]:
    """Return query loss and score, each (T, steps + 1), NaN where not measured; what adapted."""
    algorithm, loss = learner.algorithm, learner.loss
    losses = np.full((len(episodes), learner.steps + 1), np.nan)
    scores = np.full_like(losses, np.nan)
    adapted: Adapted | None = None
    taken = 0
    with torch.no_grad(), computing_in("float32", episodes.index.device):
        for step in measured_steps(learner.steps):
            adapted = algorithm.adapt(
                learner.meta,
                learner.state,
                learner.hyper,
                episodes.support,
                step - taken,
                keys,
                adapted,
            )
            taken = step
            outputs = algorithm.predict(learner.meta, learner.state, adapted, episodes.query.inputs)
            losses[:, step] = loss.per_episode(outputs, episodes.query.targets).cpu()
            if loss.score is not None:
                scores[:, step] = loss.score(outputs, episodes.query.targets).cpu()
    assert adapted is not None
    return losses, scores, adapted


def _measured(
    learner: Learner, distribution: Measures, adapted: Adapted, query: Examples
) -> dict[str, np.ndarray]:
    """Return what the distribution itself measures, (T,) by name."""
    predict = functools.partial(learner.algorithm.predict, learner.meta, learner.state, adapted)
    with torch.no_grad(), computing_in("float32", query.inputs.device):
        found = distribution.measure(predict, query)
    return {name: found[name].cpu().double().numpy() for name in distribution.measures}


def _rows(
    split: RecordSplit,
    episodes: Episodes,
    losses: np.ndarray,
    scores: np.ndarray,
    measured: dict[str, np.ndarray],
    seconds: float,
    episodes_seen: int,
    seed: int,
) -> EpisodeRecords:
    count = len(episodes)
    return EpisodeRecords(
        split=np.full(count, split, dtype="U10"),
        index=episodes.index.numpy(),
        seed=np.full(count, seed, dtype=np.int64),
        episodes_seen=np.full(count, episodes_seen, dtype=np.int64),
        seconds=np.full(count, seconds),
        classes=episodes.classes.numpy(),
        loss_before=losses[:, 0],
        loss_after=losses[:, -1],
        score_before=scores[:, 0],
        score_after=scores[:, -1],
        loss_curve=losses,
        score_curve=scores,
        measures=measured,
    )

"""The task distribution of a problem."""

from __future__ import annotations

import functools

from episodes import load
from episodes.episode import TaskDistribution
from search.config import Problem
from search.errors import UserError


@functools.lru_cache(maxsize=2)
def distribution_of(problem: Problem, data: str | None) -> TaskDistribution:
    """Load a problem's task distribution, once a process.

    Raises `episodes.DataError` when the data are missing or unfit, and UserError when they are
    not the data that the problem was posed on.
    """
    distribution = load(
        problem.task,
        ways=problem.ways,
        shots=problem.shots,
        query_shots=problem.query_shots,
        split=problem.split,
        data=data,
    )
    if problem.data_digest and problem.data_digest != distribution.digest:
        raise UserError(
            f"problem.data_digest: {problem.data_digest}: the data found here are others "
            f"({distribution.digest}), so results could not be compared"
        )
    return distribution

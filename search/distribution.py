"""The task distribution of a problem."""

from __future__ import annotations

import functools
from contextlib import nullcontext

from episodes import load
from episodes.episode import TaskDistribution
from search import extensions
from search.config import Problem
from search.episode_checks import check_episodes
from search.errors import UserError
from search.user_code import blamed


@functools.lru_cache(maxsize=2)
def distribution_of(problem: Problem, data: str | None) -> TaskDistribution:
    """Load a problem's task distribution, once a process.

    Raises `episodes.DataError` when the data are missing or unfit, and UserError when they are
    not the data that the problem was posed on, and where a user's own task does not keep to
    `episodes.episode.TaskDistribution`.
    """
    extensions.resolve_field("problem.task", "task", problem.task)
    own = extensions.is_extension("task", problem.task)
    with blamed(f"problem.task: {problem.task!r}: load") if own else nullcontext():
        distribution = load(
            problem.task,
            ways=problem.ways,
            shots=problem.shots,
            query_shots=problem.query_shots,
            split=problem.split,
            data=data,
            options=problem.options,
        )
    if own:
        check_episodes(problem, distribution)
    if problem.data_digest and problem.data_digest != distribution.digest:
        raise UserError(
            f"problem.data_digest: {problem.data_digest}: the data found here are others "
            f"({distribution.digest}), so results could not be compared; to use these, leave the "
            "data_digest out"
        )
    return distribution

"""Checks that the episodes of a user's own task are what every learner relies on."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from episodes.episode import SPLITS, Episodes, Examples, TaskDistribution
from search.config import Problem
from search.errors import UserError
from search.user_code import blamed

DRAWN = 2
ATTRIBUTES = ("name", "kind", "input_shape", "outputs", "train_classes", "digest", "sample")


def check_episodes(problem: Problem, distribution: TaskDistribution) -> None:
    """Draw episodes of each split and look at them.

    Raises UserError that names what has a wrong shape, type or value, and what would be right.
    """
    found = list(_attribute_problems(problem, distribution))
    for split in SPLITS if not found else ():
        where = f"sample({split!r}, 0, range({DRAWN}))"
        with blamed(f"problem.task: {problem.task!r}: {where}"):
            episodes = distribution.sample(split, 0, range(DRAWN))
            last = distribution.sample(split, 0, range(DRAWN - 1, DRAWN))
            found += [
                f"{where}: {line}" for line in _episode_problems(problem, distribution, episodes)
            ]
            if not found and not _equal(episodes[DRAWN - 1 :], last):
                found.append(
                    f"{where}: episode {DRAWN - 1} is another one when it is drawn by itself; "
                    "an episode may depend on its split, seed and index alone"
                )
        if found:
            break
    if found:
        raise UserError("\n".join(f"problem.task: {problem.task!r}: {line}" for line in found))


def _attribute_problems(problem: Problem, distribution: TaskDistribution) -> Iterator[str]:
    missing = [name for name in ATTRIBUTES if not hasattr(distribution, name)]
    if missing:
        kind = type(distribution).__name__
        yield f"load returned a {kind} without {', '.join(missing)}; see TaskDistribution"
        return
    if distribution.kind != problem.kind:
        yield f"kind: {distribution.kind!r}: must be {problem.kind!r}, as its Task says"
    shape, outputs = distribution.input_shape, distribution.outputs
    if not isinstance(shape, tuple) or not shape or not all(isinstance(n, int) for n in shape):
        yield f"input_shape: {shape!r}: must be a tuple of whole numbers, such as (1,)"
    if not isinstance(outputs, int) or outputs < 1:
        yield f"outputs: {outputs!r}: must be a whole number, at least 1"
    if problem.ways is not None and outputs != problem.ways:
        yield f"outputs: {outputs!r}: must be the ways of the problem, {problem.ways}"
    if not isinstance(distribution.digest, str) or not distribution.digest:
        yield f"digest: {distribution.digest!r}: must be text that tells its data from others"


def _episode_problems(
    problem: Problem, distribution: TaskDistribution, episodes: Episodes
) -> Iterator[str]:
    if not isinstance(episodes, Episodes):
        yield f"is of type {type(episodes).__name__}; must be an episodes.episode.Episodes"
        return
    for name, each in (("support", problem.shots), ("query", problem.query_shots)):
        examples: Examples = getattr(episodes, name)
        count = each * (problem.ways or 1)
        shape = (DRAWN, count, *distribution.input_shape)
        yield from _wrong(f"{name}.inputs", examples.inputs, shape, None)
        if problem.ways is None:
            shape = (DRAWN, count, distribution.outputs)
            yield from _wrong(f"{name}.targets", examples.targets, shape, None)
        else:
            labels, right = examples.targets, (DRAWN, count)
            problems = list(_wrong(f"{name}.targets", labels, right, torch.int64))
            yield from problems
            if not problems and not bool(((labels >= 0) & (labels < problem.ways)).all()):
                yield (
                    f"{name}.targets: from {int(labels.min())} to {int(labels.max())}; "
                    f"labels must be from 0 to {problem.ways - 1}"
                )
    yield from _wrong("classes", episodes.classes, (DRAWN, problem.ways or 0), torch.int64)
    indices = list(_wrong("index", episodes.index, (DRAWN,), torch.int64))
    yield from indices
    if not indices and episodes.index.tolist() != list(range(DRAWN)):
        yield f"index: {episodes.index.tolist()}: must be {list(range(DRAWN))}, as asked for"


def _wrong(
    name: str, value: Tensor, shape: tuple[int, ...], dtype: torch.dtype | None
) -> Iterator[str]:
    """Yield what is wrong with a tensor; `dtype` None stands for any floating point."""
    if not isinstance(value, Tensor):
        yield f"{name}: is of type {type(value).__name__}; must be a tensor"
    elif tuple(value.shape) != shape:
        yield f"{name}: has the shape {tuple(value.shape)}; must be {shape}"
    elif dtype is not None and value.dtype != dtype:
        yield f"{name}: is of {value.dtype}; must be {dtype}"
    elif dtype is None and not value.is_floating_point():
        yield f"{name}: is of {value.dtype}; must be of floating point, such as torch.float32"
    elif dtype is None and not bool(value.isfinite().all()):
        yield f"{name}: not all of its numbers are finite"


def _equal(left: Episodes, right: Episodes) -> bool:
    pairs = (
        (left.support.inputs, right.support.inputs),
        (left.support.targets, right.support.targets),
        (left.query.inputs, right.query.inputs),
        (left.query.targets, right.query.targets),
        (left.classes, right.classes),
    )
    # A vectorized function may differ in the last bits where a batch has another length.
    return all(a.shape == b.shape and torch.allclose(a, b, rtol=1e-4, atol=1e-5) for a, b in pairs)

"""Checks that the episodes of a user's own task are what every learner relies on."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from episodes.episode import IGNORED, SPLITS, Episodes, Examples, TaskDistribution
from search.config import Problem
from search.errors import UserError
from search.user_code import blamed

DRAWN = 2
CLASSES = {"segmentation": 1, "translation": 1}
"""Ids of an episode, where the problem has no ways."""
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
    if problem.kind == "segmentation" and outputs != 2:
        yield f"outputs: {outputs!r}: must be 2, for background and class"
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
        symbols = torch.int64 if problem.kind == "translation" else None
        yield from _wrong(f"{name}.inputs", examples.inputs, shape, symbols)
        yield from _target_problems(name, problem, distribution, examples, count)
    named = problem.ways or CLASSES.get(problem.kind, 0)
    yield from _wrong("classes", episodes.classes, (DRAWN, named), torch.int64)
    indices = list(_wrong("index", episodes.index, (DRAWN,), torch.int64))
    yield from indices
    if not indices and episodes.index.tolist() != list(range(DRAWN)):
        yield f"index: {episodes.index.tolist()}: must be {list(range(DRAWN))}, as asked for"


def _target_problems(
    name: str, problem: Problem, distribution: TaskDistribution, examples: Examples, count: int
) -> Iterator[str]:
    found = examples.targets
    if problem.kind == "regression":
        whole = (DRAWN, count, distribution.outputs)
        yield from _wrong(f"{name}.targets", found, whole, None)
        return
    shape: tuple[int, ...] = (DRAWN, count)
    least, most = 0, distribution.outputs - 1
    if problem.kind == "segmentation":
        shape, most = (DRAWN, count, *distribution.input_shape[1:]), 1
    if problem.kind == "translation":
        shape = (DRAWN, count, found.shape[-1])
    problems = list(_wrong(f"{name}.targets", found, shape, torch.int64))
    yield from problems
    counted = found if problem.kind == "classification" else found[found != IGNORED]
    if not problems and not bool(((counted >= least) & (counted <= most)).all()):
        yield (
            f"{name}.targets: from {int(counted.min())} to {int(counted.max())}; "
            f"labels must be from {least} to {most}"
        )


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

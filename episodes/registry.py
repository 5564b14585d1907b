"""Loading a task by its name."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from episodes.catalog import TASKS
from episodes.errors import DataError
from episodes.kinds import WITH_WAYS
from episodes.task import Task
from episodes.whole_numbers import whole_number

if TYPE_CHECKING:
    from episodes.archives import DataFile
    from episodes.episode import TaskDistribution


def load(
    task: str,
    *,
    ways: int | None = None,
    shots: int,
    query_shots: int,
    split: str | None = None,
    data: str | Path | None = None,
    options: Mapping[str, object] | None = None,
) -> TaskDistribution:
    """Load a task distribution by name.

    ways: classes in an episode; only for classification.
    shots, query_shots: examples of each class, or of each function, to adapt on and to judge by.
    split: name of the class split; None for the task's default.
    data: folder that holds the archives; None for METASWEEP_DATA, else they are downloaded.
    options: values of the task's own options, by name (`TASKS[task].options`).
    Raises DataError for a wrong argument, and when data are missing, damaged or too small.
    """
    entry = _find(task)
    shots = whole_number("shots", shots, 1)
    query_shots = whole_number("query_shots", query_shots, 1)
    values = entry.complete(options)
    kind = entry.kind_of(values)
    if kind not in WITH_WAYS and ways is not None:
        raise DataError(f"ways: {ways} has no meaning for the {kind} task {task}; leave it out")
    if kind in WITH_WAYS:
        if ways is None:
            raise DataError(
                f"ways: missing; {task} needs the number of classes in an episode, such as 5"
            )
        ways = whole_number("ways", ways, 2)
    if split is None and entry.splits:
        split = entry.splits[0]
    if split is not None and split not in entry.splits:
        known = f"one of {', '.join(entry.splits)}" if entry.splits else "left out"
        nearest = _nearest(split, entry.splits)
        raise DataError(f"split: {task} has no split {split!r}; it may be {known}{nearest}")
    arguments = {"ways": ways, "shots": shots, "query_shots": query_shots, "split": split}
    # A task without options need not know of them.
    extra = {"options": values} if entry.options else {}
    return entry.load(**arguments, data=data, **extra)


def data_report(data: str | Path | None = None) -> list[DataFile]:
    """Say for each file that tasks read where it is, reading and downloading nothing."""
    from episodes.archives import report

    return [
        report(task.name, archive, data)
        for task in TASKS.values()
        if task.archives is not None
        for archive in task.archives()
    ]


def _find(task: str) -> Task:
    if task not in TASKS:
        nearest = _nearest(task, TASKS)
        raise DataError(f"task: {task!r} is unknown; known are {', '.join(TASKS)}{nearest}")
    return TASKS[task]


def _nearest(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f" (did you mean {near[0]}?)" if near else ""

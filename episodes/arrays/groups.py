"""The examples of one split, sorted by task and label, ready to be drawn from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from episodes.arrays.splits import Places
from episodes.arrays.table import Table
from episodes.episode import SPLITS, Split
from episodes.errors import DataError


@dataclass(frozen=True)
class Groups:
    """Tasks of classes of examples. Class c is that of a task and a label; regression has one each.

    first_class, classes: (tasks,) where a task's classes begin, and how many it has.
    first_example, examples: (classes,) where a class's examples begin in `ends`, and how many.
    ends: (examples,) the place in `Rows.order` of an example's row; with a window, of its last.
    """

    first_class: np.ndarray
    classes: np.ndarray
    first_example: np.ndarray
    examples: np.ndarray
    ends: np.ndarray


@dataclass(frozen=True)
class Rows:
    """The rows of a file by task, each task's in the order of the file, and what each split has.

    order: (N,) row numbers. window: rows that make an example.
    train_rows: numbers of the rows of meta-train, ascending, from which moments may be taken.
    """

    order: np.ndarray
    window: int
    train_rows: np.ndarray
    groups: Mapping[Split, Groups]


def rows_by_split(
    table: Table, places: Places, ways: int | None, needed: int, options: Mapping[str, Any]
) -> Rows:
    """Sort a table's rows into splits, tasks and classes.

    places: of tasks; of labels where the file has no column of tasks.
    ways: labels in an episode; None for regression. needed: examples of a class in an episode.
    Raises DataError, naming the task or label, where there are too few examples or labels, unless
    `leave_out_small`; and where a split is left without any.
    """
    window = options.get("window", 1)
    by_task = "task" in options
    order = np.argsort(table.tasks, kind="stable")
    task = table.tasks[order]
    # Rows since the task began: a window may not reach back into the task before.
    age = np.arange(len(order)) - np.searchsorted(task, task)
    ends = np.flatnonzero(age >= window - 1)
    label = table.labels[order]
    owner = task if by_task else label
    groups, train = {}, np.empty(0, dtype=np.int64)
    for split in SPLITS:
        mine = np.isin(owner, places[split])
        if split == "train":
            train = np.sort(order[mine])
        kept = ends[mine[ends]]
        small = _Small(table, split, ways, needed, options)
        groups[split] = _grouped(kept, task[kept], label[kept], places[split], small)
    return Rows(order, window, train, groups)


@dataclass(frozen=True)
class _Small:
    """What to say of tasks and labels that are too small for an episode."""

    table: Table
    split: Split
    ways: int | None
    needed: int
    options: Mapping[str, Any]

    def refuse(self, task: int, label: int | None, examples: int) -> DataError:
        which = self._which(task, label)
        window = self.options.get("window")
        unit = "rows" if window is None else f"windows of {window} rows"
        return DataError(
            f"{self.options['file']}: {which}: {examples} {unit}, but an episode needs "
            f"{self.needed}, shots + query_shots; give fewer, or leave out what is too small: "
            "options.leave_out_small: true"
        )

    def refuse_labels(self, task: int, labels: int) -> DataError:
        which = f"split {self.split}" if "task" not in self.options else self._which(task, None)
        lenient = self.options["leave_out_small"] or "task" not in self.options
        or_else = "" if lenient else ", or leave such tasks out: options.leave_out_small: true"
        return DataError(
            f"{self.options['file']}: {which}: {labels} labels, but ways is {self.ways}; give "
            f"fewer ways{or_else}"
        )

    def refuse_all(self) -> DataError:
        return DataError(
            f"{self.options['file']}: split {self.split}: nothing is left that is large enough "
            f"for {self.needed} examples of a class, shots + query_shots"
            + (f", and {self.ways} ways" if self.ways else "")
        )

    def _which(self, task: int, label: int | None) -> str:
        parts = []
        if "task" in self.options:
            parts.append(f"task {self.table.task_names[task]}")
        if label is not None and self.ways is not None:
            parts.append(f"label {self.table.label_names[label]}")
        return ", ".join(parts)


def _grouped(
    ends: np.ndarray, task: np.ndarray, label: np.ndarray, places: np.ndarray, small: _Small
) -> Groups:
    """Group a split's examples; `task` and `label` are theirs, `places` the split's own names."""
    lenient = small.options["leave_out_small"]
    by_class = np.lexsort((np.arange(len(ends)), label, task))
    pairs = np.stack([task[by_class], label[by_class]], axis=1)
    first = np.flatnonzero(np.r_[True, (pairs[1:] != pairs[:-1]).any(axis=1)][: len(pairs)])
    examples = np.diff(np.r_[first, len(pairs)])
    class_task, class_label = pairs[first].T
    enough = examples >= small.needed
    if not lenient:
        own = class_task if "task" in small.options else class_label
        for place in np.setdiff1d(places, own):  # too short for a single window
            raise small.refuse(int(place), None, 0)
        for c in np.flatnonzero(~enough):
            raise small.refuse(int(class_task[c]), int(class_label[c]), int(examples[c]))
    tasks, classes = np.unique(class_task[enough], return_counts=True)
    wide = classes >= (small.ways or 1)
    if not lenient or "task" not in small.options:
        for t in np.flatnonzero(~wide):
            raise small.refuse_labels(int(tasks[t]), int(classes[t]))
    if not wide.any():
        raise small.refuse_all()
    kept = enough & np.isin(class_task, tasks[wide])
    classes = classes[wide]
    return Groups(
        first_class=np.cumsum(classes) - classes,
        classes=classes,
        first_example=first[kept],
        examples=examples[kept],
        ends=ends[by_class],
    )

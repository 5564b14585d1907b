"""The task `arrays`: episodes from a user's own file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from episodes.arrays.groups import Rows, rows_by_split
from episodes.arrays.moments import Moments, moments
from episodes.arrays.splits import places_of_splits
from episodes.arrays.table import Table, read_table
from episodes.counter_rng import choose, uniforms
from episodes.digest import json_digest
from episodes.episode import SPLITS, Episodes, Examples, Kind, Split, episode_key, index_array
from episodes.errors import DataError
from episodes.prepared import prepared


class Arrays:
    """Episodes of rows of a file, an episode from one task.

    Regression: a task is drawn, then shots + query_shots of its rows, without replacement.
    Classification: a task is drawn, then `ways` of its labels, then rows of each; where the file
    has no column of tasks, the labels themselves are split, and a task is the labels of a split.
    Tasks, labels and rows are each as likely as the others.

    inputs: (T, N, *input_shape) float32, N being ways times shots; with a window, (rows, columns)
        are the shape of an example, the last row its own. Grouped by class, in label order.
    targets: (T, N, D) float32, or (T, N) int64 labels in the order in which they were drawn.
    Class ids count tasks and their labels in sorted order within a split.
    With `standardize`, inputs and real-valued targets are in deviations from the mean of
    meta-train's rows, by column: by entry of the last axis.
    """

    name = "arrays"

    def __init__(
        self,
        table: Table,
        rows: Rows,
        scales: tuple[Moments, Moments] | None,
        ways: int | None,
        shots: int,
        query_shots: int,
        digest: str,
        windows: bool,
    ) -> None:
        """scales: moments of inputs and of targets; None to leave the values as they are."""
        self.kind: Kind = "regression" if ways is None else "classification"
        self.shots = shots
        self.query_shots = query_shots
        self.outputs = table.targets.shape[1] if ways is None else ways
        example = table.features.shape[1:]
        self.input_shape: tuple[int, ...] = (rows.window, *example) if windows else example
        train = rows.groups["train"]
        self.train_classes = None if ways is None else len(train.examples)
        self.digest = digest
        self._table = table
        self._rows = rows
        self._scales = scales
        self._ways = ways or 1

    def sample(self, split: Split, seed: int, indices: np.ndarray | range) -> Episodes:
        """Draw the episodes with these indices, as a batch."""
        index = index_array(indices)
        key = episode_key(self.name, split, seed)
        groups, ways = self._rows.groups[split], self._ways
        per_class = self.shots + self.query_shots
        draws = uniforms(key, index, 1 + ways * (1 + per_class))
        task = choose(draws[:, :1], len(groups.classes))[:, 0]
        classes = choose(draws[:, 1 : 1 + ways], groups.classes[task])
        classes += groups.first_class[task][:, None]
        of_class = draws[:, 1 + ways :].reshape(len(index) * ways, per_class)
        examples = choose(of_class, groups.examples[classes.ravel()])
        examples += groups.first_example[classes.ravel()][:, None]
        ends = groups.ends[examples].reshape(len(index), ways, per_class)
        return Episodes(
            support=self._examples(ends[:, :, : self.shots]),
            query=self._examples(ends[:, :, self.shots :]),
            classes=torch.from_numpy(classes if self.kind == "classification" else classes[:, :0]),
            index=torch.from_numpy(index),
        )

    def _examples(self, ends: np.ndarray) -> Examples:
        """Gather examples by the places of their last rows, (T, ways, k)."""
        episodes, ways, k = ends.shape
        ends = ends.reshape(episodes, ways * k)
        order, window = self._rows.order, self._rows.window
        last = order[ends]
        rows = order[ends[..., None] + np.arange(1 - window, 1)]
        inputs = self._table.features[rows].reshape(*ends.shape, *self.input_shape)
        inputs = self._single(inputs, 0)
        if self.kind == "classification":
            targets = torch.arange(ways).repeat_interleave(k).repeat(episodes, 1)
            return Examples(torch.from_numpy(inputs), targets)
        values = self._single(self._table.targets[last], 1)
        return Examples(torch.from_numpy(inputs), torch.from_numpy(values))

    def _single(self, values: np.ndarray, which: int) -> np.ndarray:
        """Scale inputs (0) or targets (1), and only then bring them to 32 bits."""
        if self._scales is not None:
            return self._scales[which].scaled(values)
        return values.astype(np.float32, copy=False)


def load_arrays(
    ways: int | None, shots: int, query_shots: int, options: Mapping[str, Any]
) -> Arrays:
    """Open the file that complete options name (`episodes.arrays.options`).

    Raises DataError, naming the option, or the file with its column and row, for whatever is wrong.
    """
    _check_together(options)
    table = read_table(options)
    if "window" in options and table.features.ndim > 2:
        raise DataError(
            f"options.window: {options['window']}: examples in {options['file']} have the shape "
            f"{table.features.shape[1:]} already; leave it out"
        )
    by_task = "task" in options
    names = table.task_names if by_task else table.label_names
    places = places_of_splits(names, "task" if by_task else "label", options)
    rows = rows_by_split(table, places, ways, shots + query_shots, options)
    split_digest = json_digest({split: list(map(str, names[places[split]])) for split in SPLITS})
    scales = _scales(table, rows, split_digest) if options["standardize"] else None
    shape = {name: options.get(name) for name in ("window", "standardize", "leave_out_small")}
    digest = json_digest([table.digest, split_digest, shape])
    windows = "window" in options
    return Arrays(table, rows, scales, ways, shots, query_shots, digest, windows)


def _check_together(options: Mapping[str, Any]) -> None:
    """Raise DataError for options that make no sense beside each other."""
    if "task" in options:
        return
    if options["kind"] == "regression":
        raise DataError(
            "options.task: missing: an episode of regression is drawn from one task; name the "
            "column that says which task a row belongs to"
        )
    if "window" in options:
        raise DataError(
            f"options.window: {options['window']}: needs options.task, the column of what each "
            "series of rows belongs to: a window must not reach from one into another"
        )


def _scales(table: Table, rows: Rows, split_digest: str) -> tuple[Moments, Moments]:
    """Return the moments of inputs and targets over meta-train's rows, taken once."""

    def build() -> np.ndarray:
        both = [moments(array, rows.train_rows) for array in (table.features, table.targets)]
        parts = ("mean", "deviation")
        return np.stack([np.concatenate([getattr(one, part) for one in both]) for part in parts])

    mean, deviation = prepared(f"arrays-{table.key}-{split_digest}-moments", build)
    inputs = table.features.shape[-1]
    return (
        Moments(mean[:inputs], deviation[:inputs]),
        Moments(mean[inputs:], deviation[inputs:]),
    )

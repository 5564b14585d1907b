"""A file's rows as arrays of numbers: inputs, targets, and which task and label a row has."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from episodes.arrays.files import (
    check_columns,
    column_names,
    file_digest,
    no_rows,
    read_columns,
    unnamed_index,
)
from episodes.arrays.precision import as_floats
from episodes.digest import json_digest
from episodes.errors import DataError
from episodes.prepared import prepared

# To be raised when the same file would be decoded to other arrays.
_DECODING = 3


@dataclass(frozen=True)
class Table:
    """The N rows of a file, memory-mapped.

    features: (N, ...) float32, or float64 where 32 bits blur them, finite; a row is (F,) from
        columns, or of the shape that an array of an npz file has.
    targets: (N, D) as features, finite, for regression; (N, 0) for classification.
    tasks, labels: (N,) int64 places in `task_names` and `label_names`. All 0 where the file has no
        column of tasks, or the problem is regression.
    task_names, label_names: sorted text, or whole numbers; (1,) of "" where there are none.
    digest: of all this, so that a file that holds the same in another format has the same.
    key: of the file's bytes and of what was read of it; a name for what is derived from it.
    """

    features: np.ndarray
    targets: np.ndarray
    tasks: np.ndarray
    labels: np.ndarray
    task_names: np.ndarray
    label_names: np.ndarray
    digest: str
    key: str


def read_table(options: Mapping[str, Any]) -> Table:
    """Open the file that complete options of the task `arrays` name, decoding it the first time.

    Raises DataError, naming file, column and row, for whatever is wrong in it.
    """
    path = Path(options["file"])
    content = file_digest(path)
    chosen = {name: options.get(name) for name in ("kind", "target", "features", "task")}
    key = json_digest({"decoding": _DECODING, "content": content, "chosen": chosen})
    decoded = functools.cache(lambda: _decoded(path, chosen))

    def kept(part: str) -> np.ndarray:
        return prepared(f"arrays-{key}-{part}", lambda: decoded()[part])

    arrays = {part: kept(part) for part in _PARTS}
    digest = kept("digest").tobytes().hex()
    return Table(**arrays, digest=digest, key=key)


_PARTS = ("features", "targets", "tasks", "labels", "task_names", "label_names")


def _decoded(path: Path, chosen: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Read and check a file; return the arrays of a `Table`, and their digest as 8 bytes."""
    known = column_names(path)
    targets, task = chosen["target"], chosen["task"]
    check_columns(path, "target", targets, known)
    check_columns(path, "task", [] if task is None else [task], known)
    features = chosen["features"]
    if features is None:
        left_out = {*targets, task} | unnamed_index(path)
        features = [name for name in known if name not in left_out]
    if not features:
        raise DataError(f"{path}: has no columns beside {', '.join(targets)}: inputs are missing")
    check_columns(path, "features", features, known)
    for name in features:
        if name in targets or name == task:
            whose = "the target" if name in targets else "the task"
            raise DataError(f"options.features: {name!r}: is {whose}, which no learner may see")
    if task in targets:
        raise DataError(f"options.target: {task!r}: is the task; a target is something else")
    tasks = [] if task is None else [task]
    literal = [*tasks, *(targets if chosen["kind"] == "classification" else [])]
    columns = read_columns(path, [*features, *targets, *tasks], literal)
    rows = _row_count(path, columns)
    arrays = {"features": _stacked(path, {name: columns[name] for name in features})}
    none = np.zeros(rows, dtype=np.int64), np.array([""])
    arrays["tasks"], arrays["task_names"] = none if task is None else _coded(path, task, columns)
    if chosen["kind"] == "regression":
        arrays["targets"] = _target_numbers(path, {name: columns[name] for name in targets})
        arrays["labels"], arrays["label_names"] = none
    else:
        if len(targets) > 1:
            raise DataError(f"options.target: {targets}: must be one column of labels")
        arrays["targets"] = np.empty((rows, 0), dtype=np.float32)
        arrays["labels"], arrays["label_names"] = _coded(path, targets[0], columns)
    return arrays | {"digest": np.frombuffer(bytes.fromhex(_digest(arrays)), dtype=np.uint8)}


def _row_count(path: Path, columns: Mapping[str, np.ndarray]) -> int:
    counts = {name: len(column) for name, column in columns.items()}
    (first, rows), *others = counts.items()
    for name, count in others:
        if count != rows:
            raise DataError(f"{path}: array {name!r}: has {count} rows, but {first!r} has {rows}")
    if not rows:
        raise no_rows(path)
    return rows


def _stacked(path: Path, columns: Mapping[str, np.ndarray]) -> np.ndarray:
    """Join columns along their last axis to (N, ...) numbers."""
    parts = {name: _numbers(path, name, column) for name, column in columns.items()}
    (first, shape), *others = ((name, part.shape) for name, part in parts.items())
    for name, other in others:
        if other[:-1] != shape[:-1]:
            raise DataError(
                f"{path}: array {name!r}: has rows of shape {other[1:]}, those of {first!r} have "
                f"{shape[1:]}; inputs are joined along the last axis, so the others must be equal"
            )
    if len(parts) == 1:
        return parts[first]
    return np.concatenate(list(parts.values()), axis=-1)


def _target_numbers(path: Path, columns: Mapping[str, np.ndarray]) -> np.ndarray:
    for name, column in columns.items():
        if column.ndim > 2:
            raise DataError(
                f"{path}: array {name!r}: has targets of shape {column.shape[1:]}; a target must "
                "be a number, or a row of numbers"
            )
    return _stacked(path, columns)


def _numbers(path: Path, name: str, column: np.ndarray) -> np.ndarray:
    """Return a column as (N, ...) floats of at least two axes. Raises DataError, with the row."""
    if column.dtype.kind == "U":
        raise DataError(
            f"{path}: column {name!r}, {_first_text(column)}: must be a number; correct it, or, of "
            "a feature, leave the column out or give texts numbers"
        )
    if 0 in column.shape[1:]:
        raise DataError(
            f"{path}: array {name!r}: has rows of shape {column.shape[1:]}; must hold a number at "
            "least"
        )
    numbers = as_floats(column[:, None] if column.ndim == 1 else column)
    bad = np.flatnonzero(~np.isfinite(numbers).reshape(len(numbers), -1).all(axis=1))
    if bad.size:
        row = int(bad[0])
        shown = column[row].ravel()[~np.isfinite(numbers[row].ravel())][0]
        raise DataError(
            f"{path}: column {name!r}, row {row + 1}: {shown}: must be finite as a 32-bit number; "
            f"{bad.size} of {len(numbers)} rows are not"
        )
    return numbers


def _first_text(column: np.ndarray) -> str:
    for row, value in enumerate(column.reshape(len(column), -1)[:, 0], start=1):
        try:
            float(value)
        except ValueError:
            return f"row {row}: {str(value)[:60]!r}"
    return f"row 1: {str(column.ravel()[0])[:60]!r}"


def _coded(
    path: Path, name: str, columns: Mapping[str, np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Return the places of a column's values among its distinct ones, sorted, and these."""
    column = columns[name]
    if column.dtype.kind == "f":
        raise DataError(
            f"{path}: column {name!r}: holds {column.dtype}; tasks and labels must be whole "
            "numbers or text"
        )
    if column.ndim > 1:
        raise DataError(
            f"{path}: array {name!r}: has rows of shape {column.shape[1:]}; must be (N,)"
        )
    column = column.astype(np.int64) if column.dtype.kind == "b" else column
    names, codes = np.unique(column, return_inverse=True)
    return codes.astype(np.int64), names


def _digest(arrays: Mapping[str, np.ndarray]) -> str:
    """Return 16 hex digits for arrays, wherever and however they are stored."""
    content = hashlib.sha256()
    for part in _PARTS:
        array = arrays[part]
        if part.endswith("names"):
            content.update(json_digest([str(name) for name in array]).encode())
        else:
            content.update(str(array.shape).encode())
            content.update(np.ascontiguousarray(array).data)
    return content.hexdigest()[:16]


def shown_names(names: np.ndarray, most: int = 10) -> str:
    """Return a few names of tasks or labels, for an error."""
    listed = ", ".join(str(name) for name in names[:most])
    return f"{listed}, and {len(names) - most} more" if len(names) > most else listed

"""Small files of arrays, with answers that are known."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet

Columns = Mapping[str, np.ndarray]


def curves(tasks: int = 12, rows: int = 30, seed: int = 0) -> dict[str, np.ndarray]:
    """Rows of several tasks, shuffled: y = slope of the task * (x1 - x2), exactly representable."""
    rng = np.random.default_rng(seed)
    unit = rng.permutation(np.repeat(np.arange(tasks), rows))
    x1, x2 = rng.integers(-1000, 1000, (2, unit.size)) / 8
    return {"unit": unit, "x1": x1, "x2": x2, "y": (unit + 1.0) * (x1 - x2)}


def flowers(units: int = 0, labels: int = 9, rows: int = 8) -> dict[str, np.ndarray]:
    """Rows of several labels; the first input is the label's number, the second the unit's."""
    of_unit = np.repeat(np.arange(max(units, 1)), labels * rows)
    label = np.tile(np.repeat(np.arange(labels), rows), max(units, 1))
    names = np.array([f"kind {number}" for number in range(labels)])
    columns = {"a": label.astype(float), "b": of_unit.astype(float), "kind": names[label]}
    return columns | ({"unit": of_unit} if units else {})


def write_npz(path: Path, columns: Columns) -> Path:
    np.savez(path, **columns)  # type: ignore[arg-type]
    return path


def write_csv(path: Path, columns: Columns) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))
    return path


def write_parquet(path: Path, columns: Columns) -> Path:
    pyarrow.parquet.write_table(pyarrow.table(dict(columns)), path)
    return path


WRITERS: dict[str, Callable[[Path, Columns], Path]] = {
    ".npz": write_npz,
    ".csv": write_csv,
    ".parquet": write_parquet,
}

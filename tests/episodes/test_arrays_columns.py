"""The task `arrays`: what is made of the columns of a file, and of the names in them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest

from episodes import load
from episodes.arrays.table import read_table
from tests.episodes.arrays_files import WRITERS, curves, flowers, write_csv

CURVES = {"task": "unit", "target": "y"}
FLOWERS = {"kind": "classification", "target": "kind"}


@pytest.fixture(autouse=True)
def _cache(empty_cache: Path) -> None:
    """Every test decodes anew."""


def arrays(file: Path, ways: int | None = None, **options):
    given = {"file": str(file), **options}
    return load("arrays", ways=ways, shots=4, query_shots=3, options=given)


def test_names_that_elsewhere_mean_missing_are_names(tmp_path: Path) -> None:
    """Namibia's code is NA, and a label may be called null."""
    columns = flowers(units=6, labels=3)
    codes = np.array(["NA", "null", "N/A", "NaN", "de", "fr"])
    columns["unit"] = codes[columns["unit"]]
    columns["kind"] = np.array(["NULL", "nan", "other"])[columns["a"].astype(int)]
    files = [WRITERS[suffix](tmp_path / f"a{suffix}", columns) for suffix in WRITERS]
    found = [arrays(file, ways=3, task="unit", **FLOWERS) for file in files]
    assert len({one.digest for one in found}) == 1
    assert set(found[0]._table.task_names) == set(codes)
    assert set(found[0]._table.label_names) == {"NULL", "nan", "other"}


@pytest.mark.parametrize(
    ("written", "names"),
    [
        (["1", "02", "NA", "4"], ["02", "1", "4", "NA"]),
        (["1", "01", "001"], ["001", "01", "1"]),
        (["-0", "0", "1"], ["-0", "0", "1"]),
        (["10", " 9", "-8 "], [-8, 9, 10]),
        ([str(-(2**63)), "0", str(2**63 - 1)], [-(2**63), 0, 2**63 - 1]),
        (["1", "2", str(2**63)], ["1", "2", str(2**63)]),
        (["1.0", "1.1", "1.1.0"], ["1.0", "1.1", "1.1.0"]),
        (["true", "True", "TRUE"], ["TRUE", "True", "true"]),
        (
            ["2020-01-01 00:00", "2020-01-01", "2020-01-02"],
            ["2020-01-01", "2020-01-01 00:00", "2020-01-02"],
        ),
    ],
)
@pytest.mark.parametrize("column", ["task", "label"])
def test_names_in_a_csv_file_are_as_they_are_written(
    written: list[str], names: list, column: str, tmp_path: Path
) -> None:
    file = tmp_path / "a.csv"
    lines = [f"{name},{row},{row}" for name in written for row in range(7)]
    file.write_text("\n".join(["name,x,y", *lines]))
    options = {
        "task": {"kind": "regression", "target": ["y"], "task": "name"},
        "label": {"kind": "classification", "target": ["name"]},
    }
    table = read_table({"file": str(file), **options[column]})
    found = {"task": table.task_names, "label": table.label_names}[column]
    assert found.tolist() == names


def test_names_that_begin_with_zeros_may_be_listed(tmp_path: Path) -> None:
    columns = curves(tasks=6)
    names = np.array([f"{number:03}" for number in range(6)])
    file = write_csv(tmp_path / "a.csv", columns | {"unit": names[columns["unit"]]})
    splits = tmp_path / "splits.json"
    lists = {"train": ["000", "001", "002"], "validation": ["003"], "test": ["004", "005"]}
    splits.write_text(json.dumps(lists))
    assert arrays(file, **CURVES, splits=str(splits))._table.task_names.tolist() == names.tolist()


@pytest.mark.parametrize(
    ("index", "kept", "inputs"),
    [
        ("__index_level_0__", {"index_columns": ["__index_level_0__"]}, 2),
        ("__index_level_0__", {"index_columns": [{"kind": "range"}]}, 3),
        ("__index_level_0__", {"index_columns": 3}, 3),
        ("__index_level_0__", [], 3),
        ("__index_level_0__", None, 3),
        ("day", {"index_columns": ["day"]}, 3),
    ],
)
def test_numbers_of_rows_that_pandas_keeps_are_no_inputs(
    index: str, kept: object, inputs: int, tmp_path: Path
) -> None:
    table = pyarrow.table(curves() | {index: np.arange(360)})
    said = "{" if kept is None else json.dumps(kept)
    file = tmp_path / "a.parquet"
    pyarrow.parquet.write_table(table.replace_schema_metadata({"pandas": said}), file)
    assert arrays(file, **CURVES).input_shape == (inputs,)
    assert arrays(file, **CURVES, features=["x1", index]).input_shape == (2,)


@pytest.mark.skipif(not hasattr(pyarrow, "string_view"), reason="an older pyarrow")
def test_views_of_texts_are_texts(tmp_path: Path) -> None:
    columns = dict(curves(tasks=3))
    units = pyarrow.array([f"unit {n}" for n in columns["unit"]], pyarrow.string_view())
    file = tmp_path / "a.parquet"
    pyarrow.parquet.write_table(pyarrow.table(columns | {"unit": units}), file)
    assert arrays(file, **CURVES)._table.task_names.tolist() == ["unit 0", "unit 1", "unit 2"]

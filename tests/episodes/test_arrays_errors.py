"""What is wrong in a user's file, or with the options that name it, is said before any compute."""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest

from episodes import DataError, load
from tests.episodes.arrays_files import WRITERS, curves, flowers, write_csv, write_npz

CURVES = {"task": "unit", "target": "y"}
FLOWERS = {"kind": "classification", "target": "kind"}


@pytest.fixture(autouse=True)
def _cache(empty_cache: Path) -> None:
    """Every test decodes anew."""


def refusal(file: Path, ways: int | None = None, shots: int = 4, **options: Any) -> str:
    given = {"file": str(file), **options}
    with pytest.raises(DataError) as error:
        load("arrays", ways=ways, shots=shots, query_shots=3, options=given)
    # What is wrong stays wrong: nothing of it is kept as prepared.
    with pytest.raises(DataError) as again:
        load("arrays", ways=ways, shots=shots, query_shots=3, options=given)
    assert str(again.value) == str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"target": "z"}, "options.target: 'z': {file} has no such column: its columns are 'unit'"),
        ({"target": "y", "task": "unt"}, "options.task: 'unt': {file} has no such column: did you"),
        ({"features": ["x3"]}, "options.features: 'x3': {file} has no such column: its columns"),
        ({"features": ["x1", "y"]}, "options.features: 'y': is the target, which no learner may"),
        ({"features": ["unit"]}, "options.features: 'unit': is the task, which no learner may see"),
        ({"target": "unit"}, "options.target: 'unit': is the task; a target is something else"),
        ({"target": ["y", "x1", "x2"]}, "{file}: has no columns beside y, x1, x2: inputs are miss"),
        ({"validation_share": 0.5, "test_share": 0.5}, "together with test_share, 0.5, it must be"),
        ({"window": 0}, "options.window: 0: must be a whole number, at least 1"),
        ({"kind": "classification", "ways": 2}, "column 'y': holds float64; tasks and labels"),
        ({"shots": 40}, "{file}: task 0: 30 rows, but an episode needs 43, shots + query_shots; "),
        ({"window": 29}, "{file}: task 0: 2 windows of 29 rows, but an episode needs 7"),
        ({"window": 31}, "{file}: task 0: 0 windows of 31 rows, but an episode needs 7"),
        (
            {"shots": 40, "leave_out_small": True},
            "split train: nothing is left that is large enough for 43 examples",
        ),
    ],
)
@pytest.mark.parametrize("suffix", WRITERS)
def test_options_that_do_not_fit_the_file(
    options: dict[str, Any], message: str, suffix: str, tmp_path: Path
) -> None:
    file = WRITERS[suffix](tmp_path / f"a{suffix}", curves(tasks=3))
    assert message.replace("{file}", str(file)) in refusal(file, **(CURVES | options))


def test_options_that_need_others(tmp_path: Path) -> None:
    file = write_npz(tmp_path / "a.npz", flowers())
    assert refusal(file, target="a").startswith("options.task: missing: an episode of regression")
    assert "options.window: 2: needs options.task" in refusal(file, 2, **FLOWERS, window=2)
    assert "options.target: missing: arrays needs it" in refusal(file)
    assert "ways: missing; arrays needs the number of classes" in refusal(file, **FLOWERS)
    assert "ways: 3 has no meaning for the regression task arrays" in refusal(file, 3, target="a")
    several = refusal(file, 3, kind="classification", target=["kind", "b"])
    assert "options.target: ['kind', 'b']: must be one column of labels" in several


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e39])
@pytest.mark.parametrize("column", ["x1", "y"])
@pytest.mark.parametrize("suffix", [".npz", ".parquet"])
def test_numbers_that_are_not_finite(
    value: float, column: str, suffix: str, tmp_path: Path
) -> None:
    columns = curves()
    columns[column] = columns[column].copy()
    columns[column][[6, 9]] = value
    file = WRITERS[suffix](tmp_path / f"a{suffix}", columns)
    said = refusal(file, **CURVES)
    assert said.startswith(f"{file}: column '{column}', row 7: {value}: must be finite as a 32-bit")
    assert said.endswith("2 of 360 rows are not")


def test_missing_values_and_texts_where_numbers_belong(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text("unit,x,y\n1,2,3\n1,,4\n")
    assert refusal(file, **CURVES) == f"{file}: column 'x', row 2: the value is missing"
    file.write_text("unit,x,y\n1,2,3\n1,two,4\n")
    said = refusal(file, **CURVES)
    assert said.startswith(
        f"{file}: column 'x', row 2: 'two': must be a number; correct it, or, of a feature, "
        "leave the column out or give texts numbers"
    )
    file.write_text("unit,x,y\n1,2,3\n,2,4\n")
    assert refusal(file, **CURVES) == f"{file}: column 'unit', row 2: the value is missing"
    file.write_text("unit,x,y\n1,2,3\n1.5,2,4\n")
    assert "column 'unit': holds float64; tasks and" in refusal(file, **CURVES)
    file.write_text("unit,x,y\n01,2,3\n1e3,2,4\n")
    assert "column 'unit': holds float64; tasks and" in refusal(file, **CURVES)
    file.write_text("unit,x,y\nNA,2,3\n,2,4\n")
    assert refusal(file, **CURVES) == f"{file}: column 'unit', row 2: the value is missing"
    file.write_text("unit,x,y\n1,NA,3\n")
    assert refusal(file, **CURVES) == f"{file}: column 'x', row 1: the value is missing"


def test_objects_are_never_unpickled(tmp_path: Path) -> None:
    mixed = np.array([1, "two", None] * 20, dtype=object)
    file = tmp_path / "a.npz"
    np.savez(file, unit=np.arange(60), x=mixed, y=np.ones(60))
    said = refusal(file, **CURVES)
    assert said.startswith(f"{file}: array 'x': cannot be read (Object arrays cannot be loaded")
    assert said.endswith("it must hold numbers or text, no Python objects")


def npz_with(tmp_path: Path, change: Callable[[zipfile.ZipFile], None]) -> Path:
    file = write_npz(tmp_path / "a.npz", curves())
    with zipfile.ZipFile(file, "a") as archive:
        change(archive)
    return file


def test_a_member_that_is_no_array_is_named(tmp_path: Path) -> None:
    file = npz_with(tmp_path, lambda archive: archive.writestr("readme.txt", "of these data"))
    said = refusal(file, **CURVES)
    assert said.startswith(f"{file}: array 'readme.txt': is no array of numpy; leave it out of ")
    load("arrays", shots=4, query_shots=3, options={"file": str(file), **CURVES, "features": "x1"})


@pytest.mark.parametrize(
    ("offset", "value", "said"),
    [(8, 1, "is encrypted, password required"), (10, 99, "compression method is not supported")],
)
def test_members_that_are_packed_in_another_way_are_named(
    offset: int, value: int, said: str, tmp_path: Path
) -> None:
    file = write_npz(tmp_path / "a.npz", curves())
    content = bytearray(file.read_bytes())
    # The entry of each member in the directory at the end: its flags, or how it is packed.
    for entry in re.finditer(b"PK\x01\x02", content):
        content[entry.start() + offset] = value
    for entry in re.finditer(b"PK\x03\x04", content):
        content[entry.start() + offset - 2] = value
    file.write_bytes(content)
    refused = refusal(file, **CURVES)
    assert refused.startswith(f"{file}: array 'x1': cannot be read (")
    assert said in refused


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((60, 0)), "array 'y': has rows of shape (0,); must hold a number at least"),
        (np.zeros((60, 2, 2)), "array 'y': has targets of shape (2, 2); a target must be a number"),
        (np.zeros(59), "array 'y': has 59 rows, but 'x' has 60"),
        (np.float64(3), "array 'y': is a single value; must have a row axis"),
        (np.zeros(60, dtype=complex), "array 'y': holds complex128; must be numbers or text"),
        (np.zeros(60, dtype="M8[s]"), "array 'y': holds datetime64[s]; must be numbers or text"),
    ],
)
def test_targets_of_another_shape_or_type(array: Any, message: str, tmp_path: Path) -> None:
    file = tmp_path / "a.npz"
    np.savez(file, x=np.zeros((60, 3)), unit=np.arange(60) // 20, y=array)
    assert message in refusal(file, **CURVES)


@pytest.mark.parametrize("shape", [(60, 0), (60, 0, 3), (60, 3, 0)])
def test_inputs_without_an_entry_are_named(shape: tuple[int, ...], tmp_path: Path) -> None:
    file = tmp_path / "a.npz"
    np.savez(file, x=np.zeros(shape), unit=np.arange(60) // 20, y=np.zeros(60))
    said = f"array 'x': has rows of shape {shape[1:]}; must hold a number at least"
    assert said in refusal(file, **CURVES)


def test_labels_and_tasks_of_another_shape(tmp_path: Path) -> None:
    file = tmp_path / "a.npz"
    np.savez(file, x=np.zeros((60, 3)), unit=np.zeros((60, 2), dtype=int), y=np.zeros(60))
    assert "array 'unit': has rows of shape (2,); must be (N,)" in refusal(file, **CURVES)


def test_inputs_that_cannot_be_joined(tmp_path: Path) -> None:
    file = tmp_path / "a.npz"
    unit = np.arange(60) // 20
    np.savez(file, x=np.zeros((60, 3)), z=np.zeros((60, 5, 1)), unit=unit, y=np.zeros(60))
    said = refusal(file, **CURVES)
    assert "array 'z': has rows of shape (5, 1), those of 'x' have (3,); inputs are joined" in said
    np.savez(file, z=np.zeros((60, 5, 1)), unit=unit, y=np.zeros(60))
    said = refusal(file, **CURVES, window=2)
    assert said.startswith("options.window: 2: examples in ")
    assert said.endswith("have the shape (5, 1) already; leave it out")


def test_files_that_are_no_such_files(tmp_path: Path) -> None:
    absent = tmp_path / "absent.npz"
    assert refusal(absent, **CURVES).startswith(f"options.file: {absent}: no such file; a relative")
    assert "cannot be read: " in refusal(tmp_path / ("a" * 300 + ".npz"), **CURVES)
    assert "cannot be read: embedded null byte" in refusal(tmp_path / "a\0.npz", **CURVES)
    other = tmp_path / "a.xlsx"
    assert "must end in one of .npz, .parquet, .csv" in refusal(other, **CURVES)
    folder = tmp_path / "folder.csv"
    folder.mkdir()
    assert "cannot be read: Is a directory" in refusal(folder, **CURVES)
    for suffix in WRITERS:
        file = tmp_path / f"a{suffix}"
        file.write_bytes(b"")
        assert refusal(file, **CURVES).startswith(f"{file}: is empty; it must hold a row for every")
    file = tmp_path / "a.npz"
    file.write_bytes(b"nothing of the kind")
    assert refusal(file, **CURVES).startswith(f"{file}: is no npz file of numpy (")
    file.write_bytes(write_npz(tmp_path / "b.npz", curves()).read_bytes()[:-100])
    assert refusal(file, **CURVES).startswith(f"{file}: is no npz file of numpy (")
    np.save(tmp_path / "c.npy", np.zeros(3))
    (tmp_path / "c.npy").rename(file)
    assert refusal(file, **CURVES).startswith(f"{file}: is a single array; save several by name")
    file = tmp_path / "a.parquet"
    file.write_bytes(b"nothing of the kind")
    assert refusal(file, **CURVES).startswith(f"{file}: is no parquet file that can be read: ")


def test_csv_files_that_cannot_be_meant(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text("unit,x,y\n")
    assert refusal(file, **CURVES).startswith(f"{file}: holds no rows; it must hold one for every")
    file.write_text("unit,x,y\n1,2\n")
    said = refusal(file, **CURVES)
    assert said.startswith(f"{file}: is no csv file that can be read: CSV parse error: line 2")
    file.write_text("unit;x;y\n1;2;3\n")
    assert refusal(file, **CURVES).endswith("'unit;x;y'; columns are separated by commas")
    file.write_text("unit,y,y\n1,2,3\n")
    assert refusal(file, **CURVES) == f"{file}: column 'y': is there twice; give one another name"


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16"])
def test_another_encoding_is_named_with_its_line(encoding: str, tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_bytes("unit,x,y\nmüll,2,3\n".encode(encoding))
    line = 2 if encoding == "latin-1" else 1
    said = refusal(file, **CURVES)
    assert said.startswith(f"{file}: line {line}: is not UTF-8 (")


def test_a_byte_order_mark_is_no_part_of_a_name(tmp_path: Path) -> None:
    file = write_csv(tmp_path / "a.csv", curves())
    file.write_text(file.read_text(), encoding="utf-8-sig")
    load("arrays", shots=4, query_shots=3, options={"file": str(file), **CURVES})


def test_columns_of_other_types(tmp_path: Path) -> None:
    file = tmp_path / "a.parquet"
    nested = pyarrow.array([[1.0, 2.0]] * 9)
    table = {"unit": list(range(9)), "x": nested, "y": [1.0] * 9}
    pyarrow.parquet.write_table(pyarrow.table(table), file)
    assert "column 'x': holds list<" in refusal(file, **CURVES)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            {"train": [0], "validation": [1], "test": [1]},
            "test: '1': is in validation, too; a task",
        ),
        ({"train": [0, 0], "validation": [1], "test": [2]}, "train: '0': is in train, too; a task"),
        ({"train": [0], "validation": [9], "test": [2]}, "validation: '9': the data have no such"),
        ({"train": [0], "validation": [1], "test": []}, "test: is empty; it must list a task"),
        ({"train": [0], "validation": [1]}, "test: must be a list of names"),
        ({"train": [0], "val": [1], "test": [2]}, "'val': must be one of train, validation, test"),
        ({"train": [0.5], "validation": [1], "test": [2]}, "train: 0.5: must be text or a whole"),
        ([1, 2], "must be a mapping with the keys train, validation, test"),
    ],
)
def test_a_split_file_that_cannot_be_meant(content: Any, message: str, tmp_path: Path) -> None:
    file = write_csv(tmp_path / "a.csv", curves(tasks=3))
    splits = tmp_path / "splits.json"
    splits.write_text(json.dumps(content))
    assert refusal(file, **CURVES, splits=str(splits)).startswith(f"{splits}: {message}")


def test_a_split_file_that_is_none(tmp_path: Path) -> None:
    file = write_csv(tmp_path / "a.csv", curves(tasks=3))
    splits = tmp_path / "splits.json"
    assert "cannot be read: No such file" in refusal(file, **CURVES, splits=str(splits))
    splits.write_text("{")
    assert refusal(file, **CURVES, splits=str(splits)).startswith(f"{splits}: is not JSON: ")


def test_too_few_tasks_labels_or_rows(tmp_path: Path) -> None:
    file = write_csv(tmp_path / "a.csv", curves(tasks=2))
    assert "2 tasks; at least 3 are needed, one for each split" in refusal(file, **CURVES)
    file = write_csv(tmp_path / "b.csv", flowers(labels=9))
    said = refusal(file, 3, **FLOWERS)
    assert said == f"{file}: split validation: 2 labels, but ways is 3; give fewer ways"
    file = write_npz(tmp_path / "c.npz", flowers(units=4, labels=3))
    said = refusal(file, 4, **FLOWERS, task="unit")
    assert ": 3 labels, but ways is 4; give fewer ways, or leave such tasks out" in said
    said = refusal(file, 2, shots=9, **FLOWERS, task="unit")
    assert "label kind 0: 8 rows, but an episode needs 12, shots + query_shots" in said

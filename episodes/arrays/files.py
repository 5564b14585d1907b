"""Reading columns from npz, parquet and CSV files, with suspicion."""

from __future__ import annotations

import codecs
import difflib
import hashlib
import json
import re
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from episodes.errors import DataError

if TYPE_CHECKING:
    import pyarrow

SUFFIXES = (".npz", ".parquet", ".csv")
_BLOCK = 1 << 20
_SHOWN = 20

_WHOLE = re.compile(r"0|-?[1-9][0-9]{0,18}")
_DECIMAL = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_BLANKS = " \t"
_UNNAMED_INDEX = re.compile(r"__index_level_[0-9]+__")
"""What pandas calls the index of a table that has no name for it."""


def file_digest(path: Path) -> str:
    """Return 64 hex digits for the content of a file.

    Raises DataError, naming the file, where it is none of ours, cannot be read, or is empty, and
    where a CSV file is not UTF-8.
    """
    if path.suffix not in SUFFIXES:
        raise DataError(f"options.file: {path}: must end in one of {', '.join(SUFFIXES)}")
    digest = hashlib.sha256()
    decoder = codecs.getincrementaldecoder("utf-8")() if path.suffix == ".csv" else None
    lines = 1
    try:
        with path.open("rb") as file:
            while block := file.read(_BLOCK):
                digest.update(block)
                if decoder is not None:
                    decoder.decode(block)
                    lines += block.count(b"\n")
            size = file.tell()
            if decoder is not None:
                decoder.decode(b"", final=True)
    except UnicodeDecodeError as error:
        lines += error.object[: error.start].count(b"\n")
        raise DataError(
            f"{path}: line {lines}: is not UTF-8 ({error.reason}); save it in that encoding"
        ) from None
    except FileNotFoundError:
        raise DataError(
            f"options.file: {path}: no such file; a relative path starts at the current folder"
        ) from None
    except (OSError, ValueError) as error:  # a path may hold what no path can
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"options.file: {path}: cannot be read: {reason}") from None
    if not size:
        raise DataError(f"{path}: is empty; it must hold a row for every example")
    return digest.hexdigest()


def column_names(path: Path) -> list[str]:
    """Return the names of a file's columns, or of the arrays of an npz file, in their order."""
    names = _npz_names(path) if path.suffix == ".npz" else _schema(path).names
    twice = next((name for i, name in enumerate(names) if name in names[:i]), None)
    if twice is not None:
        raise DataError(f"{path}: column {twice!r}: is there twice; give one another name")
    return names


def unnamed_index(path: Path) -> set[str]:
    """Return the columns of a parquet file that are numbers of rows, kept by pandas, and no data.

    That is an index without a name, which a table has whose rows were sorted or chosen.
    """
    if path.suffix != ".parquet":
        return set()
    try:
        kept = json.loads((_schema(path).metadata or {}).get(b"pandas", b"{}"))
    except (ValueError, RecursionError):
        return set()
    index = kept.get("index_columns") if isinstance(kept, dict) else None
    # A mapping stands for an index that is no column.
    return {
        name
        for name in (index if isinstance(index, list) else [])
        if isinstance(name, str) and _UNNAMED_INDEX.fullmatch(name)
    }


def check_columns(path: Path, option: str, wanted: Iterable[str], known: Sequence[str]) -> None:
    """Raise DataError, naming the option, for a column that the file lacks."""
    for name in wanted:
        if name in known:
            continue
        close = difflib.get_close_matches(name, known, n=1)
        listed = ", ".join(map(repr, known[:_SHOWN])) + ", ..." * (len(known) > _SHOWN)
        right = f"did you mean {close[0]}?" if close else f"its columns are {listed}"
        commas = "; columns are separated by commas" * (path.suffix == ".csv" and len(known) == 1)
        raise DataError(f"options.{option}: {name!r}: {path} has no such column: {right}{commas}")


def read_columns(
    path: Path, names: Sequence[str], literal: Sequence[str] = ()
) -> dict[str, np.ndarray]:
    """Return columns of a file: numbers, truth values or text, the first axis counting rows.

    literal: those whose texts are names. In a CSV file "NA" and the like are missing numbers, but
        a task or label may be called so; there, an empty cell alone is missing. Nor are 1 and 01
        the same name: they are text as it is written, or whole numbers where all are written as
        such.
    Raises DataError, naming the file, the column and the row, for objects, for values of mixed
    types, for missing ones, and for what is no such file; rows count from 1.
    """
    if path.suffix == ".npz":
        return _read_npz(path, names)
    table = _read_table(path, names)
    if not table.num_rows:
        raise no_rows(path)
    named = _read_table(path, literal, names_only=True) if literal else table
    columns = {
        name: _plain(path, name, (named if name in literal else table).column(name))
        for name in names
    }
    if path.suffix == ".csv":
        columns |= {name: _whole_or_text(columns[name]) for name in literal}
    return columns


def no_rows(path: Path) -> DataError:
    """Say that a file holds nothing to learn from."""
    return DataError(f"{path}: holds no rows; it must hold one for every example")


def _npz_names(path: Path) -> list[str]:
    with _opened(path) as arrays:
        return list(arrays.files)


def _read_npz(path: Path, names: Sequence[str]) -> dict[str, np.ndarray]:
    columns = {}
    with _opened(path) as arrays:
        for name in names:
            try:
                # Objects would be unpickled, which may run anything.
                array = arrays[name]
                if isinstance(array, np.ndarray) and array.dtype.kind == "S":
                    array = np.char.decode(array, "utf-8")
            # RuntimeError: encrypted, or packed in a way that zipfile does not know.
            except (
                ValueError,
                OSError,
                EOFError,
                RuntimeError,
                zlib.error,
                zipfile.BadZipFile,
            ) as error:
                raise DataError(
                    f"{path}: array {name!r}: cannot be read ({error}); it must hold numbers or "
                    "text, no Python objects"
                ) from None
            if not isinstance(array, np.ndarray):  # numpy hands out what any other file holds.
                raise DataError(
                    f"{path}: array {name!r}: is no array of numpy; leave it out of the file, or "
                    "name the others in options.features"
                )
            if array.dtype.kind not in "biufU":
                raise DataError(
                    f"{path}: array {name!r}: holds {array.dtype}; must be numbers or text"
                )
            if not array.ndim:
                raise DataError(f"{path}: array {name!r}: is a single value; must have a row axis")
            columns[name] = array
    return columns


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    # numpy leaves a file open that it cannot make sense of.
    with path.open("rb") as file:
        try:
            opened = np.load(file, allow_pickle=False)
        except (ValueError, OSError, EOFError, RuntimeError, zipfile.BadZipFile) as error:
            raise DataError(f"{path}: is no npz file of numpy ({error})") from None
        if not hasattr(opened, "files"):
            raise DataError(f"{path}: is a single array; save several by name with numpy.savez")
        yield opened


def _schema(path: Path) -> pyarrow.Schema:
    import pyarrow
    import pyarrow.csv
    import pyarrow.parquet

    try:
        if path.suffix == ".parquet":
            return pyarrow.parquet.read_schema(path)
        with pyarrow.csv.open_csv(path, read_options=_one_by_one()) as reader:
            return reader.schema
    except (pyarrow.ArrowException, OSError) as error:
        raise _unreadable(path, error) from None


def _read_table(path: Path, names: Sequence[str], names_only: bool = False) -> pyarrow.Table:
    import pyarrow
    import pyarrow.csv
    import pyarrow.parquet

    try:
        if path.suffix == ".parquet":
            with pyarrow.parquet.ParquetFile(path) as file:
                return file.read(columns=list(names))
        options = pyarrow.csv.ConvertOptions(
            include_columns=list(names),
            strings_can_be_null=True,
            null_values=[""] if names_only else None,
            column_types=dict.fromkeys(names, pyarrow.string()) if names_only else None,
        )
        return pyarrow.csv.read_csv(path, _one_by_one(), convert_options=options)
    except (pyarrow.ArrowException, OSError) as error:
        raise _unreadable(path, error) from None


def _one_by_one() -> Any:
    """Read blocks in order: only so does an error always say which line it is about."""
    import pyarrow.csv

    return pyarrow.csv.ReadOptions(use_threads=False)


def _unreadable(path: Path, error: Exception) -> DataError:
    first = next(iter(str(error).splitlines()), type(error).__name__).replace("Row #", "line ")
    return DataError(f"{path}: is no {path.suffix[1:]} file that can be read: {first[:300]}")


def _plain(path: Path, name: str, column: pyarrow.ChunkedArray) -> np.ndarray:
    import pyarrow.types as types

    if column.null_count:
        row = int(np.argmax(column.is_null().to_numpy())) + 1
        raise DataError(f"{path}: column {name!r}, row {row}: the value is missing")
    if types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if types.is_integer(column.type) or types.is_floating(column.type):
        return column.to_numpy()
    if types.is_boolean(column.type):
        return column.to_numpy().astype(bool)
    # Older releases of pyarrow do not tell the last of these.
    tests = ("is_string", "is_large_string", "is_string_view")
    text = any(getattr(types, test)(column.type) for test in tests if hasattr(types, test))
    if text or types.is_temporal(column.type):
        return np.array([str(value) for value in column.to_pylist()], dtype=str)
    raise DataError(f"{path}: column {name!r}: holds {column.type}; must be numbers or text")


def _whole_or_text(texts: np.ndarray) -> np.ndarray:
    """Return (N,) texts as they are, or as int64 where each is written as a whole number is.

    As float64, which are no names, where all are numbers and one of them is not whole.
    """
    distinct = [text.strip(_BLANKS) for text in np.unique(texts).tolist()]
    limits = np.iinfo(np.int64)
    if all(_WHOLE.fullmatch(text) and limits.min <= int(text) <= limits.max for text in distinct):
        return np.char.strip(texts, _BLANKS).astype(np.int64)
    if all(map(_DECIMAL.fullmatch, distinct)) and any(set(text) & set(".eE") for text in distinct):
        return texts.astype(np.float64)
    return texts

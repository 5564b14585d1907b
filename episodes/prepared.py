"""Arrays that are decoded once, kept in the cache folder, and mapped into memory from then on.

All trials of a machine map the same file, so that they share one copy of it in memory.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from episodes.folders import cache_folder, cache_not_writable, make_cache_folder

Allocate = Callable[[tuple[int, ...]], np.ndarray]
"""Makes an empty uint8 array of a shape, on disk."""

T = TypeVar("T")

_log = logging.getLogger("metasweep")


def prepared(name: str, build: Callable[[], np.ndarray]) -> np.ndarray:
    """Return the array kept under this name, read-only and memory-mapped; build it if needed.

    name: must change with everything that the content depends on.
    build: called in at most one process at a time; the others wait for its result.
    Raises DataError, naming METASWEEP_CACHE, when the array has to be built and cannot be kept.
    """
    path = _path(name)

    def write() -> None:
        array = build()
        try:
            _write(path, array)
        except OSError as error:
            raise cache_not_writable(error) from error

    return _kept(path, lambda: _open(path), write)


def prepared_with_notes(name: str, build: Callable[[Allocate], Any]) -> tuple[np.ndarray, Any]:
    """Return a uint8 array and what was noted of it, as `prepared` does, but built on disk.

    build: makes its array with the function it is called with, fills it, and returns what is worth
        knowing of it, as JSON values. Only what it touches is held in memory, so that an array may
        be larger than that.
    """
    path = _path(name)
    notes = path.with_suffix(".json")

    def open_both() -> tuple[np.ndarray, Any] | None:
        array = _open(path)
        try:
            return None if array is None else (array, json.loads(notes.read_text()))
        except (OSError, ValueError):
            return None

    return _kept(path, open_both, lambda: _fill(path, notes, build))


def _path(name: str) -> Path:
    return cache_folder() / "prepared" / f"{name}.npy"


def _kept(path: Path, open_kept: Callable[[], T | None], write: Callable[[], None]) -> T:
    """Open what is kept; where there is nothing, write it first, in one process at a time."""
    from filelock import FileLock

    kept = open_kept()
    if kept is not None:
        return kept
    folder = make_cache_folder(path.parent.name)
    with FileLock(folder / f"{path.name}.lock"):
        kept = open_kept()
        if kept is not None:
            return kept
        _log.info("preparing %s, once", path)
        write()
    kept = open_kept()
    if kept is None:
        raise cache_not_writable(f"{path} was written, but cannot be read")
    return kept


def _open(path: Path) -> np.ndarray | None:
    """Map a kept array; None if there is none, or not a whole one."""
    try:
        return np.load(path, mmap_mode="r")
    except (OSError, EOFError, ValueError):
        return None


def _write(path: Path, array: np.ndarray) -> None:
    temporary = path.with_suffix(".tmp")  # the lock makes this process its only writer
    try:
        with temporary.open("wb") as file:
            np.save(file, array)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _fill(path: Path, notes: Path, build: Callable[[Allocate], Any]) -> None:
    temporary = path.with_suffix(".tmp")
    arrays: list[np.memmap] = []

    def allocate(shape: tuple[int, ...]) -> np.ndarray:
        try:
            array = np.lib.format.open_memmap(temporary, mode="w+", dtype=np.uint8, shape=shape)
            _reserve(temporary)
        except OSError as error:
            raise cache_not_writable(error) from error
        arrays.append(array)
        return array

    try:
        noted = build(allocate)
        (array,) = arrays
        try:
            array.flush()
            # The array comes last: where it is, its notes are.
            notes.write_text(json.dumps(noted))
            temporary.replace(path)
        except OSError as error:
            raise cache_not_writable(error) from error
    finally:
        temporary.unlink(missing_ok=True)


def _reserve(path: Path) -> None:
    """Take the whole of a file from the disk now, as a full disk later would kill the process."""
    if hasattr(os, "posix_fallocate"):
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)

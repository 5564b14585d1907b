"""Arrays that are decoded once, kept in the cache folder, and mapped into memory from then on."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

from episodes.folders import cache_folder, cache_not_writable, make_cache_folder

_log = logging.getLogger("metasweep")


def prepared(name: str, build: Callable[[], np.ndarray]) -> np.ndarray:
    """Return the array kept under this name, read-only and memory-mapped; build it if needed.

    name: must change with everything that the content depends on.
    build: called in at most one process at a time; the others wait for its result.
    Raises DataError, naming METASWEEP_CACHE, when the array has to be built and cannot be kept.
    """
    path = cache_folder() / "prepared" / f"{name}.npy"
    kept = _open(path)
    return _build_once(path, build) if kept is None else kept


def _build_once(path: Path, build: Callable[[], np.ndarray]) -> np.ndarray:
    from filelock import FileLock

    folder = make_cache_folder(path.parent.name)
    with FileLock(folder / f"{path.name}.lock"):
        kept = _open(path)
        if kept is not None:
            return kept
        _log.info("preparing %s, once", path)
        array = build()
        try:
            _write(path, array)
        except OSError as error:
            raise cache_not_writable(error) from error
    return np.load(path, mmap_mode="r")


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

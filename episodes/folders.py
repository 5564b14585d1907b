"""The folders that data are read from and kept in."""

from __future__ import annotations

import os
from pathlib import Path

from episodes.errors import DataError


def cache_folder() -> Path:
    """Return where downloads and prepared data are kept: METASWEEP_CACHE or ~/.cache/metasweep."""
    return _absolute(os.environ.get("METASWEEP_CACHE") or "~/.cache/metasweep")


def given_data_folder(data: str | Path | None) -> Path | None:
    """Return the data folder a user named, by argument or METASWEEP_DATA; None if neither."""
    named = data or os.environ.get("METASWEEP_DATA")
    return _absolute(named) if named else None


def make_cache_folder(name: str) -> Path:
    """Create a folder of this name in the cache folder. Raises DataError if it is not writable."""
    folder = cache_folder() / name
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cache_not_writable(error) from error
    if not os.access(folder, os.W_OK):
        raise cache_not_writable("permission denied")
    return folder


def cache_not_writable(reason: object) -> DataError:
    """Say that the cache folder cannot be written, and what to do about it."""
    return DataError(
        f"cannot write to the cache folder {cache_folder()} ({reason})\n"
        "Set METASWEEP_CACHE to a folder that is writable and has room for decoded images: "
        "about 150 MB for Omniglot, 1.3 GB for mini-ImageNet, 17 GB for tiered-ImageNet."
    )


def _absolute(folder: str | Path) -> Path:
    return Path(folder).expanduser().absolute()

"""The folders that data are read from and kept in."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from episodes.errors import DataError


def cache_folder() -> Path:
    """Return where downloads and prepared data are kept: METASWEEP_CACHE or ~/.cache/metasweep.

    Raises DataError if it is in the home of nobody.
    """
    named = os.environ.get("METASWEEP_CACHE") or "~/.cache/metasweep"
    return absolute_path(named, "cache folder")


def given_data_folder(data: str | Path | None) -> Path | None:
    """Return the data folder a user named, by argument or METASWEEP_DATA; None if neither.

    Raises DataError if it is in the home of nobody.
    """
    named = data or os.environ.get("METASWEEP_DATA")
    return absolute_path(named, "data folder") if named else None


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


def from_home(path: str | Path) -> Path:
    """Return an absolute path, with the home of a user in place of a "~" at its start.

    Raises ValueError if there is no such user.
    """
    try:
        return Path(path).expanduser().absolute()
    except RuntimeError:
        user = Path(path).parts[0].removeprefix("~")
        raise ValueError(
            f"there is no such user as {user}" if user else "it is not known whose home ~ is"
        ) from None


def absolute_path(path: str | Path, what: str) -> Path:
    """Return a path as `from_home` does. Raises DataError, which says what the path is."""
    try:
        return from_home(path)
    except ValueError as error:
        raise DataError(f"{what} {path}: {error}") from None


def is_folder(path: Path, what: str) -> bool:
    """Whether there is such a folder.

    Raises DataError, which says what the path is, where that cannot be found out.
    """
    try:
        return stat.S_ISDIR(path.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False
    # ValueError: a path may hold what no path can.
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"{what} {path} cannot be looked for: {reason}") from error

"""Digests of whole files, computed once for as long as a file does not change."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Sequence
from pathlib import Path

from episodes.digest import json_digest
from episodes.errors import DataError
from episodes.folders import cache_folder

_ADVICE = "Check that it is a file that you may read."


def files_digest(paths: Sequence[Path], advice: str = _ADVICE) -> str:
    """Return 16 hex digits for the contents of files, in their order, whatever their names.

    They are kept in the cache folder by the files' places, sizes and times of change, so that
    large files are read once and not at the start of every trial.
    Raises DataError naming a file that cannot be read, with the advice for it.
    """
    states = []
    for path in paths:
        try:
            state = path.stat()
        except OSError as error:
            raise _unreadable(path, error.strerror, advice) from error
        if not stat.S_ISREG(state.st_mode):
            raise _unreadable(path, "Not a plain file", advice)
        states.append([str(path.absolute()), state.st_size, state.st_mtime_ns, state.st_ino])
    kept = cache_folder() / "digests" / f"{json_digest(states)}.json"
    try:
        return str(json.loads(kept.read_text()))
    except (OSError, ValueError):
        digest = _digest(paths, advice)
        _keep(kept, digest)
        return digest


def _digest(paths: Sequence[Path], advice: str) -> str:
    digests = []
    for path in paths:
        try:
            with path.open("rb") as file:
                digests.append(hashlib.file_digest(file, "sha256").hexdigest())
        except OSError as error:
            raise _unreadable(path, error.strerror, advice) from error
    return json_digest(digests)


def _unreadable(path: Path, reason: str | None, advice: str) -> DataError:
    return DataError(f"{path} cannot be read: {reason}\n{advice}")


def _keep(path: Path, digest: str) -> None:
    temporary = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(json.dumps(digest))
        temporary.replace(path)
    except OSError:
        pass  # A folder that cannot be written costs time here, and nothing else.

"""Writing the file that `--output` names."""

from __future__ import annotations

from pathlib import Path

from search.atomic_file import write_atomically
from search.disk_space import is_full
from search.errors import UserError


def write_output(path: Path, text: str) -> None:
    """Write a whole file, or none. Raises UserError where there may be no such file."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, text.encode())
    except OSError as error:
        if is_full(error):
            raise
        raise UserError(f"--output: {path}: cannot be written: {error.strerror}") from None

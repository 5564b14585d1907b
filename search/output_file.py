"""Writing the file that `--output` names."""

from __future__ import annotations

from pathlib import Path

from search.atomic_file import write_atomically
from search.disk_space import is_full
from search.errors import UserError


def write_output(path: Path, text: str) -> None:
    """Write a whole file, or none. Raises UserError where there may be no such file."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, content: bytes) -> None:
    """Write a whole file, as `write_output` does.

    A link is followed. What is no file, such as /dev/stdout or a pipe, is written to.
    """
    if path.is_dir():
        raise UserError(f"--output: {path}: is a folder; name a file")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() and not path.is_file():
            with path.open("wb") as stream:
                stream.write(content)
        else:
            write_atomically(path.resolve(), content)
    except OSError as error:
        if is_full(error):
            raise
        raise UserError(f"--output: {path}: cannot be written: {error.strerror}") from None

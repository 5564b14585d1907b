"""Reading a file that anyone may have made: a regular one, of a bounded size, at once."""

from __future__ import annotations

import io
import os
import stat
from pathlib import Path

KIND_BY_TYPE = {
    stat.S_IFIFO: "a pipe",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}

CHUNK = 1 << 16


class UnreadableError(Exception):
    """Why a file cannot be read, as the second half of a sentence that names it."""


def read_bounded(path: Path, most: int) -> bytes:
    """Return the content of a regular file, or of what a link to one leads to.

    Never waits for a pipe's other end, and never holds more than `most` bytes and one.
    Raises FileNotFoundError, and UnreadableError for what is no file, too large or not permitted.
    """
    # Without waiting: a pipe would be opened only when somebody writes into it.
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        with open(path, "rb", buffering=0, opener=lambda name, _: os.open(name, flags)) as stream:
            return _content(stream, most)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise UnreadableError(f"cannot be read: {error.strerror}") from None
    except MemoryError:
        raise UnreadableError("does not fit into the memory that is left") from None


def _content(stream: io.FileIO, most: int) -> bytes:
    found = os.fstat(stream.fileno())
    if not stat.S_ISREG(found.st_mode):
        kind = KIND_BY_TYPE.get(stat.S_IFMT(found.st_mode), "of an unknown kind")
        raise UnreadableError(f"is {kind}, and must be a file")
    # Some file systems say 0 of every file, so that what is read is counted, too.
    if found.st_size <= most:
        parts, left = [], most + 1
        while left and (part := stream.read(min(left, max(found.st_size, CHUNK)))):
            parts.append(part)
            left -= len(part)
        if left:
            return parts[0] if len(parts) == 1 else b"".join(parts)
    raise UnreadableError(f"larger than {size_text(most)}")


def read_text(path: Path, most: int) -> str:
    """Return such a file as text. Raises also UnreadableError when it is not UTF-8."""
    try:
        return read_bounded(path, most).decode("utf-8")
    except UnicodeDecodeError:
        raise UnreadableError("not a text file in UTF-8") from None


def size_text(size: int) -> str:
    """Return a number of bytes as people write it."""
    for unit, power in (("GiB", 30), ("MiB", 20), ("KiB", 10)):
        if size >> power:
            return f"{size / (1 << power):.3g} {unit}"
    return f"{size} bytes"

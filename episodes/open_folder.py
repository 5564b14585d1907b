"""Files that lie loose in a folder, read as those of an archive are."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import IO

from episodes.errors import DataError


class OpenFolder:
    """A folder and all that is in it, but for hidden files and folders."""

    def __init__(self, path: Path, advice: str = "", *, deep: bool = True) -> None:
        """Take a folder, and what a user may do when its files are damaged.

        deep: whether files in folders below it are listed, too.
        """
        self.path = path
        self.advice = advice
        self.deep = deep

    def __enter__(self) -> OpenFolder:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is open between two readings."""

    def note_if_repacked(self) -> None:
        """Do nothing: whoever has a folder knows that it is not the published archive."""

    def names(self) -> list[str]:
        """Return the names of all files, sorted, with "/" between folders.

        A folder that is a link is not followed, as it may lead around in a circle.
        Raises DataError naming a folder that cannot be listed.
        """
        found = []
        for folder, folders, files in os.walk(self.path, onerror=self._unlisted):
            folders[:] = [name for name in folders if self.deep and not name.startswith(".")]
            inside = Path(folder).relative_to(self.path)
            found += [(inside / name).as_posix() for name in files if not name.startswith(".")]
        return sorted(found)

    def read_each(self, names: Collection[str]) -> Iterator[tuple[str, bytes]]:
        """Yield the names and contents of files. Raises DataError for one that is not readable."""
        for name, stream in self.streams(names):
            try:
                content = stream.read()
            except OSError as error:
                raise self.damaged(f"{name} cannot be read: {error.strerror}") from error
            yield name, content

    def streams(self, names: Collection[str]) -> Iterator[tuple[str, IO[bytes]]]:
        """Yield the names of files, and each open for reading until the next one is asked for."""
        for name in names:
            try:
                file = (self.path / name).open("rb")
            except OSError as error:
                raise self.damaged(f"{name} cannot be read: {error.strerror}") from error
            with file:
                yield name, file

    def _unlisted(self, error: OSError) -> None:
        inside = Path(error.filename).relative_to(self.path)
        name = "it" if inside == Path() else f"{inside.as_posix()}/"
        raise self.damaged(f"{name} cannot be read: {error.strerror}") from error

    def damaged(self, what: str) -> DataError:
        """Say what is wrong with the files, and how to mend it."""
        return DataError(f"in the folder {self.path}: {what}{self.advice and chr(10)}{self.advice}")

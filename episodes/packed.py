"""Files in an archive of either kind, or loose in a folder, read alike."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import IO, Protocol

from episodes.archives import Archive, OpenArchive
from episodes.errors import DataError
from episodes.tar_archives import OpenTar

ZIPS = (".zip",)


class Packed(Protocol):
    """Files that can be listed and read."""

    def names(self) -> list[str]:
        """Return the names of all files, with "/" between folders."""
        ...

    def read_each(self, names: Collection[str]) -> Iterator[tuple[str, bytes]]:
        """Yield the names and contents of these files, in the order that is cheapest to read."""
        ...

    def damaged(self, what: str) -> DataError:
        """Say what is wrong with the files, and how to mend it."""
        ...


class Streamed(Packed, Protocol):
    """Files that are too large to be read at once, too."""

    def streams(self, names: Collection[str]) -> Iterator[tuple[str, IO[bytes]]]:
        """Yield the names of files, and each open for reading until the next one is asked for."""
        ...


def open_packed(archive: Archive, path: Path) -> OpenArchive | OpenTar:
    """Open a zip or a tar archive, by its name. Raises DataError as either does."""
    return (OpenArchive if path.suffix in ZIPS else OpenTar)(archive, path)

"""Files in an archive of either kind, or loose in a folder, read alike."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import IO, Protocol

from episodes.archives import Archive, OpenArchive, shown
from episodes.digest import json_digest
from episodes.errors import DataError
from episodes.file_digests import files_digest
from episodes.open_folder import OpenFolder
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


def open_packed(archive: Archive, path: Path) -> OpenArchive | OpenTar | OpenFolder:
    """Open a folder, or a zip or a tar archive, by its name. Raises DataError as they do."""
    if path.is_dir():
        return OpenFolder(path, f"Mend it, or get it again {archive.origin}")
    return (OpenArchive if path.suffix in ZIPS else OpenTar)(archive, path)


def by_last_name(packed: Packed, wanted: Collection[str]) -> dict[str, str]:
    """Return the names of files by what is behind their last "/", of those wanted that are there.

    Raises DataError where two files are called so, as nobody knows which one is meant.
    """
    found: dict[str, str] = {}
    for name in packed.names():
        last = name.rpartition("/")[2]
        if last not in wanted:
            continue
        if last in found:
            raise packed.damaged(
                f"{last} is in it twice, as {shown(found[last])} and {shown(name)}"
            )
        found[last] = name
    return found


def packed_digest(path: Path) -> str:
    """Return 16 hex digits for the content of an archive, or of a folder and all that is in it.

    Raises DataError naming a file that cannot be read.
    """
    if not path.is_dir():
        return files_digest([path])
    names = OpenFolder(path).names()
    return json_digest([names, files_digest([path / name for name in names])])

"""Reading tar archives with suspicion, packed by gzip, bzip2 or xz, or not at all."""

from __future__ import annotations

import bz2
import gzip
import lzma
import tarfile
import zlib
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import IO, Any

from episodes.archives import Archive, name_problem, note_if_repacked, shown
from episodes.errors import DataError

READ_AT_ONCE = 1 << 20
UNPACKERS: dict[bytes, Callable[..., Any]] = {
    b"\x1f\x8b": gzip.open,
    b"BZ": bz2.open,
    b"\xfd7": lzma.open,
}
"""How a file is unpacked, by its first two bytes."""

_BROKEN = (tarfile.TarError, EOFError, OSError, zlib.error, lzma.LZMAError, ValueError)


class OpenTar:
    """A tar file open for reading, with the promises of `episodes.archives.OpenArchive`.

    Nothing is ever unpacked to disk. A tar has no directory, so that listing it reads all of it.
    """

    def __init__(self, archive: Archive, path: Path) -> None:
        """Raise DataError if the file is cut short, no tar file, or could not have been published.

        That is: too large, packed or unpacked, or with a member that is no plain file of its own
        name inside.
        """
        self.archive = archive
        self.path = path
        size = path.stat().st_size
        if size > archive.most_packed:
            raise self.damaged(f"{size} bytes, at most {archive.most_packed} expected")
        self._names = [member.name for member, _ in self._files()]

    def __enter__(self) -> OpenTar:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is open between two readings."""

    def names(self) -> list[str]:
        """Return the names of all files in the archive, in its own order."""
        return list(self._names)

    def read_each(self, names: Collection[str]) -> Iterator[tuple[str, bytes]]:
        """Yield the names and contents of files, in the archive's own order.

        Raises DataError if the archive is damaged on the way.
        """
        for name, stream in self.streams(names):
            try:
                content = stream.read()
            except _BROKEN as error:
                raise self._broken(error) from error
            yield name, content

    def streams(self, names: Collection[str]) -> Iterator[tuple[str, IO[bytes]]]:
        """Yield the names of files, and each open for reading until the next one is asked for."""
        wanted = set(names)
        for member, tar in self._files():
            if member.name in wanted:
                stream = tar.extractfile(member)
                assert stream is not None, "a plain file"
                yield member.name, stream

    def damaged(self, what: str) -> DataError:
        """Say what is wrong with this file, and how to get it again."""
        return self.archive.damaged(self.path, what)

    def note_if_repacked(self) -> None:
        """Log where the file is not the published one, once all of its content was found."""
        note_if_repacked(self.archive, self.path)

    def _files(self) -> Iterator[tuple[tarfile.TarInfo, tarfile.TarFile]]:
        """Yield the plain files from the first to the last, each checked before it is read."""
        seen: set[str] = set()
        unpacked = 0
        for member, tar in self._members():
            member.name = member.name.removeprefix("./")
            problem = name_problem(member.name)
            if not (member.isreg() or member.isdir()):
                problem = "is a link or a device, not a file"
            if member.name in seen and member.isreg():
                problem = "is there twice"
            if problem:
                raise self.damaged(f"member {shown(member.name)} {problem}")
            seen.add(member.name)
            unpacked += member.size
            if unpacked > self.archive.most_unpacked:
                raise self.damaged(
                    f"more than {self.archive.most_unpacked} bytes unpacked, which is not expected"
                )
            if member.isreg():
                yield member, tar

    def _members(self) -> Iterator[tuple[tarfile.TarInfo, tarfile.TarFile]]:
        try:
            with _unpacked(self.path) as stream:
                pieces = _InPieces(stream)
                with _open_tar(pieces) as tar:
                    while (member := tar.next()) is not None:
                        # Without this a tar keeps every member it has passed.
                        tar.members = []  # type: ignore[attr-defined]
                        pieces.most = member.size
                        yield member, tar
                        pieces.most = READ_AT_ONCE
                self._read_to_the_end(stream)
        except _BROKEN as error:
            raise self._broken(error) from error

    def _read_to_the_end(self, stream: IO[bytes]) -> None:
        """Read what is behind the last member: only the end of a packed file is held to its sum."""
        left = self.archive.most_unpacked
        while piece := stream.read(READ_AT_ONCE):
            left -= len(piece)
            if left < 0:
                raise EOFError("without an end")

    def _broken(self, error: Exception) -> DataError:
        size = self.path.stat().st_size
        return self.damaged(f"cut short, or not a tar file ({size} bytes; {error})")


def _open_tar(stream: Any) -> tarfile.TarFile:
    return tarfile.open(fileobj=stream, mode="r:")


class _InPieces:
    """A stream that gives no more at once than anyone needs who reads honestly.

    A header may say that a name is gigabytes long, and would be read in one piece.
    """

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self.most = READ_AT_ONCE

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= max(self.most, READ_AT_ONCE):
            raise tarfile.ReadError(f"a header of {size} bytes")
        return self._stream.read(size)

    def seek(self, *arguments: Any) -> int:
        return self._stream.seek(*arguments)

    def tell(self) -> int:
        return self._stream.tell()


def _unpacked(path: Path) -> IO[bytes]:
    """Open a file for reading, unpacked on the way where it is packed."""
    with path.open("rb") as file:
        opener = UNPACKERS.get(file.read(2))
    return opener(path, "rb") if opener else path.open("rb")

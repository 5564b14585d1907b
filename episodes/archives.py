"""Finding the archives of a data set, and reading them with suspicion."""

from __future__ import annotations

import hashlib
import logging
import re
import stat
import struct
import zipfile
import zlib
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from episodes.download import download
from episodes.errors import DataError
from episodes.folders import cache_folder, given_data_folder, is_folder, make_cache_folder

ENCRYPTED = 0x1
SMALL = 1 << 16
MOST_RATIO = 100
"""Images are packed two to ten times smaller; what is packed a hundred times smaller is a trap."""

NAME_CHARACTERS = 100

_log = logging.getLogger("metasweep")


@dataclass(frozen=True)
class Source:
    """Where an archive is published, and the MD5 of the published file."""

    url: str
    md5: str


@dataclass(frozen=True)
class Archive:
    """One file of a data set, usually a zip or tar archive.

    folder, file: it is looked for as `folder/file` and as `file` in a data folder.
    source: called only when needed, since it may import the library that knows; None for what is
        published nowhere that it may be fetched from.
    most_packed, most_unpacked: bytes that the file, and all that is in it, may have; a file that
        says more of itself is not read.
    instead: other files with the same data, taken where one of them is there and this one is not.
    advice: where there is no source, how a user comes by the file.
    loose: whether it is a folder, of what an archive was unpacked to.
    beside: files that are needed with it, in the same folder.
    """

    folder: str
    file: str
    source: Callable[[], Source] | None
    most_packed: int = 1 << 25
    most_unpacked: int = 1 << 28
    instead: tuple[Archive, ...] = ()
    advice: str = ""
    loose: bool = False
    beside: tuple[str, ...] = ()

    @property
    def origin(self) -> str:
        """Say where the file comes from, as the end of a sentence that begins with "Get it"."""
        return f"from {self.source().url}" if self.source else f"yourself: {self.advice}"

    @property
    def company(self) -> str:
        """Say what is needed with it; empty for nothing."""
        return f", with {', '.join(self.beside)} beside it" if self.beside else ""

    def damaged(self, path: Path, what: str) -> DataError:
        """Say what is wrong with this file, found at `path`, and how to get it again."""
        by_itself = "\n(without --data and METASWEEP_DATA it is downloaded by itself)."
        return DataError(
            f"{path} is damaged: {what}\n"
            f"Delete it and get it again {self.origin}{by_itself if self.source else ''}"
        )


@dataclass(frozen=True)
class DataFile:
    """What was found of one archive. path is None when it is missing.

    downloads: whether a missing file is fetched when it is first needed.
    advice: how to come by a file that is fetched by nobody.
    """

    task: str
    file: str
    folder: Path
    path: Path | None
    downloads: bool
    advice: str = ""


def report(task: str, archive: Archive, data: str | Path | None) -> DataFile:
    """Say where an archive is, without reading or downloading it."""
    given = given_data_folder(data)
    folder = given or cache_folder()
    found = _find(archive, folder)
    file, path = (found[0].file, found[1]) if found else (archive.file, None)
    downloads = given is None and archive.source is not None
    return DataFile(task, file, folder, path, downloads, archive.advice)


def obtain(archive: Archive, data: str | Path | None) -> Path:
    """Return the path of an archive, downloading it when no data folder was named.

    data: the folder to look in; None for METASWEEP_DATA, else the cache folder with download.
    Raises DataError when the folder or the file is missing, or cannot be downloaded.
    """
    return locate(archive, data)[1]


def locate(archive: Archive, data: str | Path | None) -> tuple[Archive, Path]:
    """Return, as `obtain` does, a path, and which archive it is: this one, or one instead of it."""
    given = given_data_folder(data)
    folder = given or cache_folder()
    if given is not None and not is_folder(given, "data folder"):
        raise DataError(
            f"data folder {given} does not exist\n"
            "Name another with --data or METASWEEP_DATA, or neither to have the data downloaded."
        )
    found = _find(archive, folder)
    if found is not None:
        return found
    if given is None and archive.source is not None:
        return archive, _download(archive, archive.source())
    others = "".join(f"\n(or {a.folder}/{a.file} instead{a.company})" for a in archive.instead)
    otherwise = "\nor leave out --data and METASWEEP_DATA to have it downloaded."
    raise DataError(
        f"{archive.folder}/{archive.file} is missing in the data folder {folder}{others}\n"
        f"Get it {archive.origin}{otherwise if archive.source else ''}"
    )


def name_problem(name: str) -> str | None:
    """Return what is wrong with the name of an archive's member."""
    if re.match(r"[/\\]|[A-Za-z]:", name) or ".." in re.split(r"[/\\]", name):
        return "points outside the archive"
    if not name.isprintable():
        return "has control characters in its name"
    return None


def shown(name: str) -> str:
    """Return the name of a member as it may be printed."""
    return ascii(name if len(name) <= NAME_CHARACTERS else name[:NAME_CHARACTERS] + "...")


class OpenArchive:
    """A zip file open for reading, whose failures say which file is damaged and how to mend it.

    Nothing is ever unpacked to disk, and no member is read into more memory than it says to need.
    """

    def __init__(self, archive: Archive, path: Path) -> None:
        """Raise DataError if the file is cut short, no zip file, or could not have been published.

        That is: too large, packed or unpacked, with a member that is no plain file of its own name
        inside, or in need of a password.
        """
        self.archive = archive
        self.path = path
        size = path.stat().st_size
        if size > archive.most_packed:
            raise self.damaged(f"{size} bytes, at most {archive.most_packed} expected")
        try:
            self._zip = zipfile.ZipFile(path)
        except (zipfile.BadZipFile, NotImplementedError, ValueError, struct.error) as error:
            raise self.damaged(f"cut short, or not a zip file ({size} bytes)") from error
        except OSError as error:
            raise DataError(f"{path} cannot be read: {error.strerror}") from error
        try:
            self._check_members()
        except DataError:
            self._zip.close()
            raise

    def __enter__(self) -> OpenArchive:
        return self

    def __exit__(self, *_: object) -> None:
        self._zip.close()

    def members(self) -> list[zipfile.ZipInfo]:
        """Return the directory: name, size and CRC-32 of every member."""
        return self._zip.infolist()

    def read(self, member: zipfile.ZipInfo) -> bytes:
        """Read one member. Raises DataError if its bytes do not match its CRC-32, or its size."""
        try:
            with self._zip.open(member) as stream:
                # One byte more than there should be: only the end of a member is held to its CRC.
                content = stream.read(member.file_size + 1)
        # RuntimeError: packed in a way that zipfile does not know.
        except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError) as error:
            raise self.damaged(f"member {member.filename} is unreadable ({error})") from error
        if len(content) != member.file_size:
            raise self.damaged(f"member {member.filename} is not as large as the file says")
        return content

    def names(self) -> list[str]:
        """Return the names of all files in the archive."""
        return [member.filename for member in self._zip.infolist() if not member.is_dir()]

    def read_each(self, names: Collection[str]) -> Iterator[tuple[str, bytes]]:
        """Yield the names and contents of files, as `read` does, in the archive's own order."""
        wanted = set(names)
        for member in self._zip.infolist():
            if member.filename in wanted:
                yield member.filename, self.read(member)

    def _check_members(self) -> None:
        seen: set[str] = set()
        unpacked = 0
        for member in self._zip.infolist():
            problem = _member_problem(member)
            if member.filename in seen:
                problem = "is there twice"
            if problem:
                raise self.damaged(f"member {shown(member.filename)} {problem}")
            seen.add(member.filename)
            unpacked += member.file_size
        if unpacked > self.archive.most_unpacked:
            raise self.damaged(
                f"{unpacked} bytes unpacked, at most {self.archive.most_unpacked} expected"
            )

    def damaged(self, what: str) -> DataError:
        """Say what is wrong with this file, and how to get it again."""
        return self.archive.damaged(self.path, what)

    def note_if_repacked(self) -> None:
        """Log where the file is not the published one, once all of its content was found."""
        note_if_repacked(self.archive, self.path)


def note_if_repacked(archive: Archive, path: Path) -> None:
    """Log where a file is not the published one, once all of its content was found.

    It is accepted, as its content is what counts.
    """
    with path.open("rb") as file:
        md5 = hashlib.file_digest(file, "md5").hexdigest()
    if archive.source is not None and md5 != archive.source().md5:
        _log.warning(
            "%s is not the published file bit by bit (MD5 %s), but its content is complete",
            path,
            md5,
        )


def _member_problem(member: zipfile.ZipInfo) -> str | None:
    """Return what is wrong with a member, from the directory alone."""
    if problem := name_problem(member.filename):
        return problem
    if stat.S_IFMT(member.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "is a link or a device, not a file"
    if member.flag_bits & ENCRYPTED:
        return "needs a password"
    # The other ways to pack cannot be unpacked piece by piece, so that they are not bounded.
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return f"is packed in a way that is not read here ({member.compress_type})"
    if member.file_size > max(SMALL, MOST_RATIO * member.compress_size):
        return f"is packed {member.file_size // max(member.compress_size, 1)} times smaller"
    return None


def _find(archive: Archive, folder: Path) -> tuple[Archive, Path] | None:
    for one in (archive, *archive.instead):
        for path in (folder / one.folder / one.file, folder / one.file):
            try:
                if path.is_dir() if one.loose else path.is_file():
                    return one, path
            except OSError as error:  # Where a folder on the way is closed.
                raise DataError(
                    f"{path} cannot be looked for: {error.strerror}\n"
                    "Give yourself the right to read its folder, or name another with --data."
                ) from error
    return None


def _download(archive: Archive, source: Source) -> Path:
    path = make_cache_folder(archive.folder) / archive.file
    download(source.url, source.md5, path, archive.most_packed)
    return path

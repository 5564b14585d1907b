"""An archive from anywhere is read, or refused before it takes memory; nothing is written of it."""

from __future__ import annotations

import io
import os
import stat
import struct
import tracemalloc
import warnings
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image, PngImagePlugin

from episodes.archives import Archive, OpenArchive, Source
from episodes.errors import DataError
from episodes.omniglot_images import ARCHIVES, _strokes
from tests.faults.hostile import refused, refused_in_limits

NAME = "images_background/Latin/character01/0001_01.png"
MEBIBYTE = 1 << 20


@pytest.fixture
def archive() -> Archive:
    source = Source("https://example.org/few.zip", "0" * 32)
    return Archive("few", "few.zip", lambda: source, most_packed=MEBIBYTE, most_unpacked=MEBIBYTE)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "few.zip"


def write(path: Path, *members: tuple[str | zipfile.ZipInfo, bytes]) -> None:
    with warnings.catch_warnings(action="ignore"), zipfile.ZipFile(path, "w") as file:
        for member, content in members:
            file.writestr(member, content, compress_type=zipfile.ZIP_DEFLATED)


def patch(path: Path, field: int, value: bytes, *, local: int | None = None) -> None:
    """Write into the first entry of the directory, and at `local` into the member's own header."""
    content = bytearray(path.read_bytes())
    entry = content.index(b"PK\x01\x02") + field
    content[entry : entry + len(value)] = value
    if local is not None:
        content[local : local + len(value)] = value
    path.write_bytes(content)


def opened(archive: Archive, path: Path) -> str:
    with pytest.raises(DataError) as raised:
        OpenArchive(archive, path)
    message = str(raised.value)
    assert message.startswith(f"{path} is damaged: ")
    assert "get it again from https://example.org/few.zip" in message
    return message.splitlines()[0].removeprefix(f"{path} is damaged: ")


def special(name: str, mode: int) -> zipfile.ZipInfo:
    member = zipfile.ZipInfo(name)
    member.create_system = 3
    member.external_attr = (mode | 0o777) << 16
    return member


@pytest.mark.parametrize("mode", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR])
def test_a_member_that_is_no_file(archive: Archive, path: Path, mode: int) -> None:
    write(path, ("a", b"1"), (special("b", mode), b"/etc/passwd"))
    assert opened(archive, path) == "member 'b' is a link or a device, not a file"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("../../etc/passwd", "member '../../etc/passwd' points outside the archive"),
        ("/etc/passwd", "member '/etc/passwd' points outside the archive"),
        ("a/\x1b[2J", "member 'a/\\x1b[2J' has control characters in its name"),
        ("a\u202egnp", "member 'a\\u202egnp' has control characters in its name"),
        ("a\n" + "b" * 10_000, f"member 'a\\n{'b' * 98}...' has control characters in its name"),
    ],
)
def test_a_member_with_a_name_that_misleads(
    archive: Archive, path: Path, name: str, message: str
) -> None:
    write(path, (name, b"1"))
    assert opened(archive, path) == message


def test_a_member_that_is_there_twice(archive: Archive, path: Path) -> None:
    write(path, ("a", b"1"), ("b", b"2"), ("a", b"3"))
    assert opened(archive, path) == "member 'a' is there twice"


def test_a_member_that_needs_a_password(archive: Archive, path: Path) -> None:
    write(path, ("a", b"1"))
    patch(path, 8, b"\x01\x00", local=6)
    assert opened(archive, path) == "member 'a' needs a password"


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA, 99])
def test_a_member_that_cannot_be_unpacked_piece_by_piece(
    archive: Archive, path: Path, method: int
) -> None:
    write(path, ("a", b"1"))
    patch(path, 10, struct.pack("<H", method), local=8)
    assert (
        opened(archive, path) == f"member 'a' is packed in a way that is not read here ({method})"
    )


def test_a_member_that_is_packed_too_well(archive: Archive, path: Path) -> None:
    write(path, ("a", bytes(300_000)))
    assert opened(archive, path).startswith("member 'a' is packed ")
    assert opened(archive, path).endswith(" times smaller")


def test_more_than_there_should_be(archive: Archive, path: Path) -> None:
    write(path, *((str(number), bytes(60_000)) for number in range(20)))
    assert opened(archive, path) == "1200000 bytes unpacked, at most 1048576 expected"
    path.write_bytes(b"PK" + bytes(MEBIBYTE))
    assert opened(archive, path) == "1048578 bytes, at most 1048576 expected"


def test_a_directory_that_says_it_is_enormous(archive: Archive, path: Path) -> None:
    write(path, ("a", b"1"))
    patch(path, 24, struct.pack("<I", 0xFFFF_FFFE), local=22)
    assert opened(archive, path) == "member 'a' is packed 1431655764 times smaller"


@pytest.mark.parametrize("declared", [100, 50_000])
def test_a_member_that_is_larger_than_it_says_takes_no_more_memory(
    archive: Archive, path: Path, declared: int
) -> None:
    write(path, ("a", bytes(200 * MEBIBYTE)))
    patch(path, 24, struct.pack("<I", declared), local=22)
    with OpenArchive(archive, path) as file:
        tracemalloc.start()
        try:
            with pytest.raises(DataError, match="member a is unreadable"):
                file.read(file.members()[0])
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert peak < 2 * MEBIBYTE


def test_a_member_that_is_smaller_than_it_says(archive: Archive, path: Path) -> None:
    write(path, ("a", b"1234567890"))
    patch(path, 24, struct.pack("<I", 11), local=22)
    told = pytest.raises(DataError, match="member a is not as large as the file says")
    with OpenArchive(archive, path) as file, told:
        file.read(file.members()[0])


def png(width: int, height: int) -> bytes:
    """Return an image that says to be so large, of which no pixel is there."""

    def chunk(name: bytes, content: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(name + content))
        return struct.pack(">I", len(content)) + name + content + checksum

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    pixels = chunk(b"IDAT", zlib.compress(b""))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + pixels + chunk(b"IEND", b"")


def png_with_text() -> bytes:
    """Return an image with packed text that is thousands of times as large."""
    text, stream = PngImagePlugin.PngInfo(), io.BytesIO()
    text.add_text("comment", "x" * (8 * MEBIBYTE), zip=True)
    Image.new("1", (105, 105)).save(stream, "PNG", pnginfo=text)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (png(12_000, 12_000), r"is \(12000, 12000\), not \(105, 105\) pixels"),
        (png(60_000, 60_000), "is not a PNG image"),
        (png(2**31 - 1, 2**31 - 1), "is not a PNG image"),
        (png(105, 105), "is not a PNG image"),
        (png_with_text(), "is not a PNG image"),
        (b"GIF89a" + bytes(100), "is not a PNG image"),
    ],
)
def test_an_image_that_is_a_bomb(
    archive: Archive, path: Path, content: bytes, message: str
) -> None:
    write(path, (NAME, content))
    with OpenArchive(archive, path) as file:
        tracemalloc.start()
        try:
            with pytest.raises(DataError, match=message):
                _strokes(file, file.members()[0])
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert peak < 16 * MEBIBYTE


def bomb(folder: Path) -> None:
    write(folder / "images_background.zip", (NAME, bytes(200 * MEBIBYTE)))


def huge(folder: Path) -> None:
    with (folder / "images_background.zip").open("wb") as file:
        file.truncate(1 << 40)


def link(folder: Path) -> None:
    write(folder / "images_background.zip", (special(NAME, stat.S_IFLNK), b"/etc/passwd"))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (bomb, "times smaller"),
        (huge, "1099511627776 bytes, at most"),
        (link, "is a link or a device, not a file"),
    ],
)
def test_a_search_on_such_data_is_refused(
    tmp_path: Path, make: Callable[[Path], None], message: str
) -> None:
    make(tmp_path)
    write(tmp_path / "images_evaluation.zip", ("a", b"1"))
    arguments = ("search", "omniglot-5way-1shot", "--dry-run", "--data", str(tmp_path))
    cache = {"METASWEEP_CACHE": str(tmp_path / "cache")}
    said = refused_in_limits(*arguments, folder=tmp_path, environment=cache)
    assert f"{tmp_path / 'images_background.zip'} is damaged: " in said
    assert message in said


def test_what_is_no_file_is_not_found(tmp_path: Path) -> None:
    for archive in ARCHIVES:
        os.mkfifo(tmp_path / archive.file)
    arguments = ("search", "omniglot-5way-1shot", "--dry-run", "--data", str(tmp_path))
    said = refused(*arguments, folder=tmp_path)
    assert f"images_background.zip is missing in the data folder {tmp_path}" in said

"""Files are read up to a size, and what is no file is not waited for."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from search.read_file import UnreadableError, read_bounded, read_text, size_text


@pytest.mark.parametrize("size", [0, 1, 99, 100, 70_000])
def test_a_file_of_the_size_that_is_allowed_is_read_whole(tmp_path: Path, size: int) -> None:
    content = os.urandom(size)
    (tmp_path / "file").write_bytes(content)
    (tmp_path / "link").symlink_to("file")
    assert read_bounded(tmp_path / "file", size) == content
    assert read_bounded(tmp_path / "link", size + 1) == content
    if size:
        with pytest.raises(UnreadableError, match=r"^larger than"):
            read_bounded(tmp_path / "file", size - 1)


def test_a_file_that_does_not_say_its_size_is_counted() -> None:
    status = Path("/proc/self/status")
    assert status.stat().st_size == 0
    assert read_bounded(status, 100_000).startswith(b"Name:")
    with pytest.raises(UnreadableError, match=r"^larger than 100 bytes$"):
        read_bounded(status, 100)


def test_what_is_no_file_is_told_from_one_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_bounded(tmp_path / "missing", 1)
    with pytest.raises(UnreadableError, match="cannot be read: Is a directory"):
        read_bounded(tmp_path, 1)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UnreadableError, match="is a pipe, and must be a file"):
        read_bounded(tmp_path / "pipe", 1)
    with pytest.raises(UnreadableError, match="is a device, and must be a file"):
        read_bounded(Path("/dev/zero"), 1)


def test_text_is_utf_8(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("née", encoding="utf-8")
    assert read_text(tmp_path / "file", 100) == "née"
    (tmp_path / "file").write_bytes(b"n\xe9e")
    with pytest.raises(UnreadableError, match="not a text file in UTF-8"):
        read_text(tmp_path / "file", 100)


def test_sizes_are_told_in_their_unit() -> None:
    sizes = (99, 1 << 18, 3 << 19, 1 << 30)
    assert [size_text(size) for size in sizes] == ["99 bytes", "256 KiB", "1.5 MiB", "1 GiB"]

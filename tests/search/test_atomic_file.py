from __future__ import annotations

import errno
import os
import re
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from search.atomic_file import write_atomically


def test_threads_may_write_the_same_file_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both have written their content before either puts it in its place."""
    together = threading.Barrier(2)
    sync = os.fsync

    def slow(descriptor: int) -> None:
        sync(descriptor)
        if not os.path.isdir(f"/proc/self/fd/{descriptor}"):
            together.wait(10)

    monkeypatch.setattr(os, "fsync", slow)
    contents = [b"one" * 1000, b"other" * 1000]
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda content: write_atomically(tmp_path / "file", content), contents))
    assert (tmp_path / "file").read_bytes() in contents
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_what_was_there_stays_when_writing_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"before")

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "no space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="no space left") as caught:
        write_atomically(file, b"after")
    assert caught.value.filename == str(file)
    assert file.read_bytes() == b"before"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_an_error_names_the_file_and_no_temporary_one(tmp_path: Path) -> None:
    for file in (tmp_path / "missing" / "file", tmp_path):
        with pytest.raises(OSError, match=re.escape(f": '{file}'")) as caught:
            write_atomically(file, b"content")
        assert ".tmp" not in str(caught.value)


def test_a_file_and_its_name_are_on_disk_in_this_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    sync, replace = os.fsync, Path.replace

    def synced(descriptor: int) -> None:
        sync(descriptor)
        is_folder = os.path.isdir(f"/proc/self/fd/{descriptor}")
        done.append("folder" if is_folder else "file")

    def replaced(path: Path, target: Path) -> Path:
        done.append("replaced")
        return replace(path, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(Path, "replace", replaced)
    write_atomically(tmp_path / "file", b"content")
    assert done == ["file", "replaced", "folder"]

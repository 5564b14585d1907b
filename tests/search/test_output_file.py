from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from search.errors import UserError
from search.output_file import write_output


def test_folders_are_made_and_a_file_is_replaced(tmp_path: Path) -> None:
    file = tmp_path / "new" / "board.csv"
    for text in ("first", "second"):
        write_output(file, text)
        assert file.read_text() == text
    assert list(file.parent.iterdir()) == [file]


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"--output: {tmp_path}: is a folder; name a file"):
        write_output(tmp_path, "text")


def test_below_a_file_there_is_none(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot be written: "):
        write_output(tmp_path / "file" / "board.csv", "text")


def test_a_link_is_followed_and_a_pipe_is_written_to(tmp_path: Path) -> None:
    file, link, pipe = (tmp_path / name for name in ("file", "link", "pipe"))
    file.write_text("before")
    link.symlink_to(file)
    write_output(link, "after")
    assert link.is_symlink()
    assert file.read_text() == "after"
    os.mkfifo(pipe)
    with ThreadPoolExecutor(1) as reader:
        read = reader.submit(pipe.read_text)
        write_output(pipe, "through")
        assert read.result(60) == "through"
    assert pipe.is_fifo()

from __future__ import annotations

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

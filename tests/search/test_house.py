"""A user's module that hides one of ours is found and named."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from search.house import HOME, PACKAGES

CODE = """
import sys
from search.errors import UserError
from search.house import check_house
try:
    check_house()
    print("fine")
except UserError as error:
    print(error)
print([name for name in ("torch", "algorithms", "networks", "episodes") if name in sys.modules])
"""


def check(folder: Path, *path: Path) -> list[str]:
    """Run the check in a process that starts in `folder` without having it on its path."""
    code = f"import sys; sys.path[:0] = {[str(entry) for entry in path]}\n{CODE}"
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], cwd=folder, capture_output=True, text=True, check=True
    )
    message, imported = done.stdout.splitlines()
    assert imported == "[]"
    return [message]


@pytest.mark.parametrize("name", PACKAGES)
def test_a_package_in_the_current_folder_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    (tmp_path / name / "__init__.py").touch()
    assert check(tmp_path, HOME) == [
        f"the folder {tmp_path / name} hides metasweep's package `{name}`: "
        "rename it or start from another folder"
    ]


def test_a_module_is_named_as_a_file(tmp_path: Path) -> None:
    (tmp_path / "search.py").touch()
    assert check(tmp_path, HOME) == [
        f"the file {tmp_path / 'search.py'} hides metasweep's package `search`: "
        "rename it or start from another folder"
    ]


def test_a_package_earlier_on_the_path_is_named(tmp_path: Path) -> None:
    library, start = tmp_path / "library", tmp_path / "start"
    (library / "episodes").mkdir(parents=True)
    (library / "episodes" / "__init__.py").touch()
    start.mkdir()
    assert check(start, HOME, library) == ["fine"]
    # `search` itself must come from here for the check to run at all.
    (library / "search").symlink_to(HOME / "search")
    (library / "spaces").symlink_to(HOME / "spaces")
    [message] = check(start, library, HOME)
    assert message.startswith(f"the folder {library / 'episodes'} hides metasweep's package")


def test_a_folder_of_data_hides_nothing(tmp_path: Path) -> None:
    (tmp_path / "episodes").mkdir()
    (tmp_path / "episodes" / "pictures.txt").touch()
    assert check(tmp_path, HOME) == ["fine"]


def test_our_own_folder_hides_nothing() -> None:
    assert check(HOME, HOME) == ["fine"]

"""Finds a user's module that hides one of metasweep's own packages."""

from __future__ import annotations

import sys
from importlib.machinery import PathFinder
from pathlib import Path

from search.errors import UserError

PACKAGES = ("algorithms", "networks", "episodes", "spaces", "search")
HOME = Path(__file__).resolve().parent.parent


def check_house() -> None:
    """Check that each package of metasweep is found where metasweep is installed.

    The current folder is looked at first, as Ray's workers do, whether or not this process would.
    Nothing is imported. Raises UserError that names the folder or file in the way.
    """
    path = [str(Path.cwd()), *sys.path]
    for name in PACKAGES:
        found = _location(name, path)
        if found is not None and found != HOME / name:
            kind = "folder" if found.is_dir() else "file"
            raise UserError(
                f"the {kind} {found} hides metasweep's package `{name}`: "
                "rename it or start from another folder"
            )


def _location(name: str, path: list[str]) -> Path | None:
    """Return the package folder or module file that the path leads to.

    None where only an editable installation knows the package, which then nothing hides.
    """
    spec = PathFinder.find_spec(name, path)
    if spec is None:
        return None
    if spec.submodule_search_locations:
        return Path(next(iter(spec.submodule_search_locations))).resolve()
    return Path(spec.origin).resolve() if spec.origin else None

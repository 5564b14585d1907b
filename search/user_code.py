"""Imports a user's code, and says what is wrong with it in one line."""

from __future__ import annotations

import importlib
import re
import site
import sys
import sysconfig
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from episodes.errors import DataError
from search.errors import UserError
from search.house import HOME, PACKAGES

REFERENCE = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*")


def own_path() -> list[str]:
    """Return the folders, absolute, that this process imports from beside Python's own."""
    entries = [str(Path(entry).absolute()) for entry in sys.path if Path(entry).is_dir()]
    return [
        entry
        for entry in dict.fromkeys(entries)
        if entry != str(HOME)
        and not any(Path(entry).is_relative_to(folder) for folder in python_folders())
    ]


def python_folders() -> set[str]:
    """Return the folders of Python's own modules and of installed packages."""
    folders = {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    folders |= {*site.getsitepackages(), site.getusersitepackages(), sysconfig.get_path("scripts")}
    return {folder for folder in folders if folder}


def extend_path(folders: list[str]) -> None:
    """Also import from these folders, after all others."""
    sys.path += [folder for folder in folders if folder not in sys.path]
    importlib.invalidate_caches()


def import_from_current_folder(reference: str) -> None:
    """Import from the current folder first, as `python -m` and Ray's workers do.

    Only where it holds what `reference` starts with: a worker's is a trial's, with nothing in it.
    """
    name = re.split("[.:]", reference)[0]
    here = Path.cwd()
    holds = (here / name).is_dir() or (here / f"{name}.py").is_file()
    if holds and str(here) not in sys.path and "" not in sys.path:
        sys.path.insert(0, str(here))
    importlib.invalidate_caches()


def attribute(reference: str, expected: type) -> object:
    """Import what `module:attribute` names.

    Raises UserError where the reference, the module or the attribute is wrong, when the module
    fails, and for anything but an `expected`.
    """
    if not REFERENCE.fullmatch(reference):
        raise UserError("must be module:attribute, such as my_package.learners:my_maml")
    name, _, path = reference.partition(":")
    if "__main__" in name.split("."):
        raise UserError("must not be a __main__, which runs a program when it is imported")
    module = _module(name)
    found: object = module
    for part in path.split("."):
        if not hasattr(found, part):
            raise UserError(f"{name} ({_file(module)}) has no {path}; {_fitting(module, expected)}")
        found = getattr(found, part)
    if not isinstance(found, expected):
        what = f"the class {path}" if isinstance(found, type) else f"of type {_type(type(found))}"
        raise UserError(f"is {what}; it must be a {_type(expected)}; {_fitting(module, expected)}")
    return found


def blame(error: BaseException) -> str:
    """Return an exception's last line, with the file and line of the user's code it came from."""
    last = traceback.format_exception_only(error)[-1].strip()
    if isinstance(error, SyntaxError) and error.filename:
        return f"{last} ({error.filename}, line {error.lineno})"
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith("<")
    ]
    own = [frame for frame in frames if not _is_foreign(frame.filename)]
    if not frames:
        return last
    frame = (own or frames)[-1]
    return f"{last} ({frame.filename}, line {frame.lineno})"


@contextmanager
def blamed(what: str) -> Iterator[None]:
    """Turn whatever the user's code raises into a UserError; what it means to say is kept."""
    try:
        yield
    except (UserError, DataError):
        raise
    except Exception as error:
        raise UserError(f"{what} failed: {blame(error)}") from None


def _module(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        missing = error.name or name
        if name == missing or name.startswith(missing + "."):
            places = dict.fromkeys([str(Path.cwd()), *own_path()])
            raise UserError(
                f"there is no module {missing}; looked for in {', '.join(places)} "
                "and the installed packages (start metasweep in the module's folder, set "
                "PYTHONPATH, or install it)"
            ) from None
        raise UserError(f"importing {name} failed: {blame(error)}") from None
    except (Exception, SystemExit) as error:
        raise UserError(f"importing {name} failed: {blame(error)}") from None


def _fitting(module: ModuleType, expected: type) -> str:
    names = [name for name, value in vars(module).items() if isinstance(value, expected)]
    kind = expected.__name__
    return f"every {kind} there: {', '.join(names)}" if names else f"there is no {kind} there"


def _file(module: ModuleType) -> str:
    return module.__file__ or "a folder without __init__.py"


def _type(kind: type) -> str:
    return kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__name__}"


def _is_foreign(file: str) -> bool:
    path = Path(file)
    packages = [path.is_relative_to(HOME / package) for package in PACKAGES]
    standard = path.is_relative_to(sysconfig.get_path("stdlib")) and "site-packages" not in file
    return any(packages) or standard or "/site-packages/torch/" in file

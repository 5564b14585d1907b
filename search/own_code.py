"""Finds the user's own code that a specification names, and what that code imports from beside it.

A cluster lacks these files. What is installed with Python stays where it is: the cluster must have
it, too.
"""

from __future__ import annotations

import ast
import os
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import Distribution, EntryPoint, entry_points
from pathlib import Path

from search.errors import UserError
from search.extensions import SORTS, What, is_extension
from search.house import PACKAGES
from search.spec import Spec
from search.user_code import own_path, python_folders

LARGEST = 20_000_000
"""Bytes of all that is packed. A cluster's head keeps packages in memory, and code is small."""

NAMED = 5
CACHES = ("__pycache__", "node_modules")
COMPILED = (".so", ".pyd", ".dll", ".dylib")


@dataclass(frozen=True)
class OwnCode:
    """What is packed beside metasweep.

    files: by their paths relative to the folder that Python imports from.
    distributions: packages, installed from such a folder, whose entry points the search names.
    installed: what the cluster must have, since it is not packed, each with why.
    """

    files: dict[str, Path]
    distributions: list[Distribution]
    installed: list[str]


def own_code(spec: Spec) -> OwnCode:
    """Return the code behind a specification that was just loaded, so that it is imported.

    Modules are packed as their file, packages as their whole folder, without what is hidden.
    Raises UserError where that is more than `LARGEST`, naming the largest files.
    """
    named: list[tuple[What, str]] = [("algorithm", name) for name in spec.algorithms]
    named += [("network", name) for name in spec.networks]
    named += [("task", spec.problem.task)]
    files: dict[str, Path] = {}
    distributions: dict[str, Distribution] = {}
    installed: list[str] = []
    for what, name in named:
        if not is_extension(what, name):
            continue
        offer = None if ":" in name else _offer(what, name)
        module = offer.module if offer else name.partition(":")[0]
        root = _root(module)
        why = _why_not(root, module)
        if why:
            package = offer.dist.name if offer and offer.dist else module.partition(".")[0]
            installed.append(f"{name}: the package {package} {why}")
            continue
        files |= sources([module], [root, *_roots()])
        if offer and offer.dist:
            distributions[offer.dist.name] = offer.dist
    _check_size(files)
    return OwnCode(files, list(distributions.values()), list(dict.fromkeys(installed)))


def sources(modules: Iterable[str], roots: list[Path]) -> dict[str, Path]:
    """Return the files of modules and of all that they import from the same folders.

    Imports are read, not run. Those made from text at run time are not seen.
    """
    files: dict[str, Path] = {}
    waiting = list(modules)
    seen: set[str | Path] = set()
    while waiting:
        module = waiting.pop()
        if module in seen or module.partition(".")[0] in (*PACKAGES, *sys.stdlib_module_names):
            continue
        seen.add(module)
        for root in roots:
            found = _located(module, root)
            if found is None:
                continue
            if found not in seen:
                seen.add(found)
                new = {file.relative_to(root).as_posix(): file for file in _files(found)}
                for name, file in new.items():
                    if file.suffix == ".py":
                        waiting += _imports(file, name)
                files = new | files
            break
    return files


def _offer(what: What, name: str) -> EntryPoint:
    [offer] = entry_points(group=SORTS[what].group, name=name)
    return offer


def _root(module: str) -> Path:
    """Return the folder that an imported module's outermost package or file lies in."""
    top = sys.modules[module.partition(".")[0]]
    if top.__file__ is None:
        return Path(next(iter(top.__path__))).absolute().parent
    file = Path(top.__file__).absolute()
    return file.parent.parent if file.name == "__init__.py" else file.parent


def _roots() -> list[Path]:
    return [Path(folder) for folder in dict.fromkeys([str(Path.cwd()), *own_path()])]


def _why_not(root: Path, module: str) -> str:
    if any(root.is_relative_to(folder) for folder in python_folders()):
        return "is installed on this machine"
    found = _located(module, root)
    if found is None:
        return "is no plain Python file"
    if any(file.name.endswith(COMPILED) for file in _files(found)):
        return "holds compiled code"
    return ""


def _located(module: str, root: Path) -> Path | None:
    """Return the file of a module, or the folder of the outermost package that it lies in.

    A folder without __init__.py is only passed through: it may hold anything.
    """
    folder = root
    for part in module.split("."):
        if (folder / part / "__init__.py").is_file():
            return folder / part
        if (folder / f"{part}.py").is_file():
            return folder / f"{part}.py"
        folder = folder / part
    return None


def _files(found: Path) -> Iterator[Path]:
    if found.is_file():
        yield found
        return
    for folder, folders, names in os.walk(found):
        folders[:] = [name for name in folders if name not in CACHES and name[0] != "."]
        for name in names:
            file = Path(folder, name)
            if name[0] != "." and file.suffix != ".pyc" and file.is_file():
                yield file


def _imports(file: Path, name: str) -> Iterator[str]:
    """Yield what a file imports anywhere in it: `a.b` and, of `from a import b`, `a.b` too."""
    package = name.removesuffix(".py").split("/")[:-1]
    try:
        tree = ast.parse(file.read_bytes())
    except (SyntaxError, ValueError):
        return  # A file that is never imported may be anything.
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            base = [*above, *([node.module] if node.module else [])]
            if node.module:
                yield ".".join(base)
            yield from (".".join([*base, alias.name]) for alias in node.names)


def _check_size(files: dict[str, Path]) -> None:
    sizes = {file: file.stat().st_size for file in files.values()}
    total = sum(sizes.values())
    if total <= LARGEST:
        return
    largest = sorted(sizes, key=lambda file: -sizes[file])[:NAMED]
    shown = "\n".join(f"  {sizes[file] / 1e6:.1f} MB  {file}" for file in largest)
    raise UserError(
        f"the search's own code is {total / 1e6:.1f} MB in {len(sizes)} files, of which at most "
        f"{LARGEST / 1e6:.0f} MB are packed; the largest:\n{shown}\n"
        "Code is packed, not data: keep data on the cluster, in the folder that --data names"
    )

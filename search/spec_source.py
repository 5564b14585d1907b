"""Where a specification comes from: a YAML file or a ready-made search, with values set on top."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

import yaml

from search.errors import UserError
from search.plain_text import cut, first_line, visible
from search.read_file import UnreadableError, read_text, size_text
from search.yaml_loader import PlainLoader
from spaces.errors import nearest

LARGEST = 1 << 18
PROBLEM_CHARACTERS = 500
LONGEST_KEY = 1000
SUFFIXES = (".yaml", ".yml")


def ready_made_names() -> list[str]:
    """Return the names of the ready-made searches."""
    return sorted(
        entry.name.removesuffix(".yaml")
        for entry in resources.files("spaces").iterdir()
        if entry.name.endswith(".yaml")
    )


def is_file(source: str | Path) -> bool:
    """Whether a source is a file, and not the name of a ready-made search."""
    return isinstance(source, Path) or "/" in source or source.endswith(SUFFIXES)


def read_source(source: str | Path) -> dict[str, Any]:
    """Return the raw mapping of a YAML file, or of the ready-made search of that name.

    A `Path`, and a text with a folder or a YAML suffix in it, is a file; anything else is a name.
    Raises UserError when there is no such thing, or it is not a mapping.
    """
    text = _read(Path(source)) if is_file(source) else _read_ready_made(str(source))
    content = parse_yaml(text, str(source))
    if not isinstance(content, dict):
        raise UserError(f"{source}: holds no mapping of keys to values, such as `name: my-search`")
    return content


def parse_yaml(text: str, origin: str) -> Any:
    """Read YAML into plain values; nothing in it is executed.

    Raises UserError, naming `origin` and the line, for what is not YAML, is not plain (see
    `search.yaml_loader`), and for more than 256 KiB.
    """
    if len(text) > LARGEST or len(text.encode(errors="replace")) > LARGEST:
        raise UserError(f"{origin}: larger than {size_text(LARGEST)}")
    try:
        return yaml.load(text, Loader=PlainLoader)
    except yaml.MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        problem = cut(visible(str(error.problem)), PROBLEM_CHARACTERS)
        star = "but found '/'" in problem
        quotes = '; a name that begins with * needs quotes: "*/inner_lr"' if star else ""
        raise UserError(f"{origin}{line}: not valid YAML: {problem}{quotes}") from None
    except (yaml.YAMLError, ValueError) as error:
        raise UserError(f"{origin}: not valid YAML: {first_line(error)}") from None


def set_values(content: dict[str, Any], overrides: Mapping[str, str]) -> None:
    """Set values, written as YAML, at dotted keys such as `budget.trials`. Raises UserError."""
    for key, text in overrides.items():
        if len(key) > LONGEST_KEY or key != visible(key):
            raise UserError(f"--set: {cut(visible(key), 60)!r}: is no key of a specification")
        # Names in `space` may hold dots: `space.my_package.learners:my_maml/inner_lr`.
        space, _, name = key.partition(".")
        *sections, last = [space, name] if space == "space" and name else key.split(".")
        node = content
        for depth, section in enumerate(sections, start=1):
            if node.get(section) is None:
                node[section] = {}
            node = node[section]
            if not isinstance(node, dict):
                outer = ".".join(sections[:depth])
                raise UserError(f"{key}: {outer} is a single value; it has no keys below it")
        node[last] = parse_yaml(text, key)


def _read(path: Path) -> str:
    try:
        return read_text(path, LARGEST)
    except FileNotFoundError:
        known = ", ".join(ready_made_names())
        raise UserError(f"{path}: no such file; ready-made searches: {known}") from None
    except UnreadableError as error:
        raise UserError(f"{path}: {error}") from None


def _read_ready_made(name: str) -> str:
    known = ready_made_names()
    if name not in known:
        raise UserError(f"{name}: no ready-made search of that name: {nearest(name, known)}")
    folder: Traversable = resources.files("spaces")
    return folder.joinpath(f"{name}.yaml").read_text(encoding="utf-8")

"""Where a specification comes from: a YAML file or a ready-made search, with values set on top."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

import yaml

from search.errors import UserError
from spaces.errors import nearest

LARGEST = 1 << 20
SUFFIXES = (".yaml", ".yml")


def ready_made_names() -> list[str]:
    """Return the names of the ready-made searches."""
    return sorted(
        entry.name.removesuffix(".yaml")
        for entry in resources.files("spaces").iterdir()
        if entry.name.endswith(".yaml")
    )


def read_source(source: str | Path) -> dict[str, Any]:
    """Return the raw mapping of a YAML file, or of the ready-made search of that name.

    A `Path`, and a text with a folder or a YAML suffix in it, is a file; anything else is a name.
    Raises UserError when there is no such thing, or it is not a mapping.
    """
    is_file = isinstance(source, Path) or "/" in source or source.endswith(SUFFIXES)
    text = _read(Path(source)) if is_file else _read_ready_made(str(source))
    content = parse_yaml(text, str(source))
    if not isinstance(content, dict):
        raise UserError(f"{source}: holds no mapping of keys to values, such as `name: my-search`")
    return content


def parse_yaml(text: str, origin: str) -> Any:
    """Read YAML into plain values; nothing in it is executed.

    Raises UserError, naming `origin` and the line, for what is not YAML, a key given twice, an
    alias (a few can stand for gigabytes), and more than 1 MiB.
    """
    if len(text.encode()) > LARGEST:
        raise UserError(f"{origin}: larger than 1 MiB, which no specification is")
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise UserError(f"{origin}{line}: not valid YAML: {error.problem}") from None
    except RecursionError:
        raise UserError(f"{origin}: nested too deeply") from None
    except (yaml.YAMLError, ValueError) as error:
        raise UserError(f"{origin}: not valid YAML: {str(error).splitlines()[0]}") from None


def set_values(content: dict[str, Any], overrides: Mapping[str, str]) -> None:
    """Set values, written as YAML, at dotted keys such as `budget.trials`. Raises UserError."""
    for key, text in overrides.items():
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
        if path.stat().st_size > LARGEST:
            raise UserError(f"{path}: larger than 1 MiB, which no specification is")
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        known = ", ".join(ready_made_names())
        raise UserError(f"{path}: no such file; ready-made searches: {known}") from None
    except UnicodeDecodeError:
        raise UserError(f"{path}: not a text file in UTF-8") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None


def _read_ready_made(name: str) -> str:
    known = ready_made_names()
    if name not in known:
        raise UserError(f"{name}: no ready-made search of that name: {nearest(name, known)}")
    folder: Traversable = resources.files("spaces")
    return folder.joinpath(f"{name}.yaml").read_text(encoding="utf-8")


class _Loader(yaml.SafeLoader):
    """Plain values only, as of YAML 1.2 for numbers: `1e-3` is one."""

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark
            raise yaml.MarkedYAMLError(problem="aliases are not allowed", problem_mark=mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if key.value in seen:
                problem = f"{key.value} is given twice"
                raise yaml.MarkedYAMLError(problem=problem, problem_mark=key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?[0-9]+[eE][-+]?[0-9]+$"), list("-+0123456789")
)

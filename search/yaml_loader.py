"""YAML as plain values: mappings with text as keys, lists, text, numbers, truth values and null."""

from __future__ import annotations

import re
from typing import Any

import yaml

from search.plain_text import CONTROL

DEEPEST = 32
LONGEST_NUMBER = 100
LARGEST_NUMBER = 2**63

TAG = "tag:yaml.org,2002:"
PLAIN = {TAG + kind for kind in ("null", "bool", "int", "float", "str", "seq", "map")}
EXPONENT = re.compile(r"[-+]?[0-9]+[eE][-+]?[0-9]+$")


class PlainLoader(yaml.SafeLoader):
    """Raises yaml.MarkedYAMLError for all that could make a small file large, or is not plain.

    That is: aliases, merge keys and tags, a key given twice or that is no text, more than 32
    levels, numbers beyond 64 bits or 100 characters, and control characters, which could rewrite a
    terminal that shows them. As in YAML 1.2, `1e-3` is a number, and a date is text.
    """

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """Compose a node and those below it."""
        mark = self.peek_event().start_mark
        if self.check_event(yaml.AliasEvent):
            raise _problem("aliases are not allowed", mark)
        if self.depth >= DEEPEST:
            raise _problem(f"nested too deeply, more than {DEEPEST} levels", mark)
        self.depth += 1
        try:
            return super().compose_node(parent, index)
        finally:
            self.depth -= 1

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        """Return the value of a node, if it is a plain one."""
        if node.tag not in PLAIN:
            raise _problem(f"the tag {node.tag!r} is not allowed", node.start_mark)
        return super().construct_object(node, deep)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Return a mapping whose keys are texts, each given once."""
        seen = set()
        for key, _ in node.value:
            if key.tag != TAG + "str":
                shown = key.value if isinstance(key, yaml.ScalarNode) else "a list or mapping"
                raise _problem(f"{shown!r:.60} as a key: keys must be text", key.start_mark)
            if key.value in seen:
                raise _problem(f"{key.value} is given twice", key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)

    def construct_scalar(self, node: Any) -> Any:
        """Return the text of a scalar, which is checked before it is read as anything else."""
        if not isinstance(node, yaml.ScalarNode):
            raise _problem("must be a single value", node.start_mark)
        control = CONTROL.search(node.value)
        if control:
            raise _problem(f"control character {control[0]!a} is not allowed", node.start_mark)
        if node.tag in (TAG + "int", TAG + "float") and len(node.value) > LONGEST_NUMBER:
            raise _problem(f"a number of {len(node.value)} characters", node.start_mark)
        return super().construct_scalar(node)

    def construct_yaml_int(self, node: Any) -> int:
        """Return a whole number of at most 64 bits."""
        value = super().construct_yaml_int(node)
        if abs(value) >= LARGEST_NUMBER:
            raise _problem("a whole number beyond 64 bits", node.start_mark)
        return value


def _problem(text: str, mark: yaml.Mark) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=text, problem_mark=mark)


def _without(resolvers: dict[str, list[Any]], *kinds: str) -> dict[str, list[Any]]:
    """Return what tells plain scalars apart, without some kinds, for a class of its own."""
    tags = {TAG + kind for kind in kinds}
    return {
        first: [(tag, pattern) for tag, pattern in known if tag not in tags]
        for first, known in resolvers.items()
    }


PlainLoader.yaml_implicit_resolvers = _without(
    yaml.SafeLoader.yaml_implicit_resolvers, "timestamp", "merge", "value"
)
PlainLoader.add_implicit_resolver(TAG + "float", EXPONENT, list("-+0123456789"))
PlainLoader.add_constructor(TAG + "int", PlainLoader.construct_yaml_int)

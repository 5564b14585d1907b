"""Nested mappings as flat ones, with keys such as "problem/shots"."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

MISSING = "nothing"


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return the leaves of nested mappings under their keys joined by "/"."""
    leaves: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            leaves |= flatten(value, f"{prefix}{key}/")
        else:
            leaves[f"{prefix}{key}"] = value
    return leaves


def differences(left: Mapping[str, Any], right: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    """Return (key, left value, right value) of the leaves that differ, by key."""
    a, b = flatten(left), flatten(right)
    return [
        (key, a.get(key, MISSING), b.get(key, MISSING))
        for key in sorted(a.keys() | b.keys())
        if a.get(key, MISSING) != b.get(key, MISSING)
    ]

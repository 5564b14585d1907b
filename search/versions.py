"""Versions of what both sides of a cluster must agree on."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version

EXACT = ("ray", "metasweep")
NAMES = ("python", "ray", "torch", "metasweep")


def versions_here(packages: Sequence[str] = NAMES[1:]) -> dict[str, str]:
    """Return this process's versions of Python and of those packages that are installed."""
    found = {"python": platform.python_version()}
    for name in packages:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def differences(
    ours: Mapping[str, str], theirs: Mapping[str, str], names: Sequence[str] = NAMES
) -> list[str]:
    """Name what differs: Ray and metasweep must be equal, of Python and torch major and minor."""
    lines = []
    for name in names:
        here, there = ours.get(name), theirs.get(name)
        if here is not None and there is not None and _kept(name, here) != _kept(name, there):
            lines.append(f"{name} is {there} there and {here} here")
    return lines


def _kept(name: str, text: str) -> str:
    return text if name in EXACT else ".".join(text.split("+")[0].split(".")[:2])

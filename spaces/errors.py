"""Errors in a description of a space."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class SpaceError(ValueError):
    """A parameter or a search space is described wrongly; the message says what would be right."""


def nearest(name: str, known: Iterable[str]) -> str:
    """Return "did you mean X?" where a known name is close, else "known: ..."."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1)
    return f"did you mean {close[0]}?" if close else "known: " + ", ".join(names)

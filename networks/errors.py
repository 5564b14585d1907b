"""Errors about a network that a user can mend."""

from __future__ import annotations

from collections.abc import Iterable


class NetworkError(ValueError):
    """A setting does not fit; the message names it, its value and what would be right."""


def check_word(setting: str, value: str, allowed: Iterable[str]) -> None:
    """Raise NetworkError unless `value` is one of the words that a setting takes."""
    words = list(allowed)
    if value not in words:
        raise NetworkError(f"{setting}: {value!r}: must be one of {', '.join(words)}")

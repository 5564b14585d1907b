"""Text from elsewhere, before it is shown."""

from __future__ import annotations

import re

CONTROL = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)
"""Characters that move a terminal's cursor, change its colours or turn text around, and halves of
characters, which cannot be printed; not tabs and ends of lines."""

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
NAME_RULE = "must be at most 100 letters, digits, '.', '_' and '-', a letter or digit first"
"""Of a search: a name that is safe in a path, a query, a page and a shell."""


def first_line(error: BaseException) -> str:
    """Return the first line of what an error says; its type where it says nothing."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def visible(text: str) -> str:
    """Return `text` with control characters as their escapes, such as \\x1b."""
    return CONTROL.sub(lambda found: ascii(found[0])[1:-1], text)


def cut(text: str, most: int) -> str:
    """Return `text`, or its beginning and "..." where it has more than `most` characters."""
    return text if len(text) <= most else text[: most - 3] + "..."

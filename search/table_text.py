"""Text from elsewhere as the cell of a table, which it can neither break nor turn into something.

Names come from a user's specification and reasons from the errors of any library.
"""

from __future__ import annotations

import html
import re
from typing import Any

from rich.text import Text

from search.plain_text import visible

MARKDOWN = re.compile(r"([\\|`*\[\]~])")
FORMULA = ("=", "+", "-", "@", "\t", "\r")


def one_line(text: str) -> str:
    """Return `text` in one line, with control characters as their escapes."""
    return visible(" ".join(text.split()))


def terminal(text: str) -> Text:
    """Return a cell for rich, in which `[bold]` is no markup."""
    return Text(one_line(text))


def markdown(text: str) -> str:
    """Return a cell of a Markdown table, in which `|`, links and HTML are plain characters."""
    return MARKDOWN.sub(r"\\\1", html.escape(one_line(text), quote=False))


def csv(value: Any) -> Any:
    """Return a cell for CSV: a spreadsheet takes text that begins with `=` for a formula."""
    if isinstance(value, str) and value.startswith(FORMULA):
        return "'" + value
    return value

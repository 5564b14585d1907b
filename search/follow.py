"""Shows the log of a search that runs elsewhere, as it comes."""

from __future__ import annotations

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from search.plain_text import visible
from search.progress import MARK


class Follower:
    """On a terminal, the table of what runs stays at the bottom and is replaced by the next one."""

    def __init__(self, console: Console):
        self._console = console
        self._rest = ""
        self._table: list[str] = []
        self._complete = True
        self._live = Live(
            console=console, get_renderable=self.table, refresh_per_second=2, transient=True
        )

    def __enter__(self) -> Follower:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._rest:
            self._print(self._rest)
        if self._console.is_terminal:
            self._live.stop()

    def show(self, text: str) -> None:
        """Take the next piece of the log, which may end in the middle of a line."""
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            self._print(line)

    def table(self) -> RenderableType:
        """Return the newest table."""
        return Group(Text(), *(Text(line, no_wrap=True) for line in self._table))

    def _print(self, line: str) -> None:
        is_table = line.startswith(MARK) and self._console.is_terminal
        if is_table and self._complete:
            self._table = []
        self._complete = not is_table
        if is_table:
            self._table.append(visible(line.removeprefix(MARK)))
        else:
            self._console.print(Text(visible(line)), soft_wrap=True)

"""The `metasweep` commands that documents and configuration files show."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from typer.main import get_command

from search.cli import app
from tests.cli import Done, call


def command_lines(text: str) -> list[list[str]]:
    """Return the arguments of every command that starts a line; lines that go on are joined.

    A leading comment sign is passed over, and so is a remark, which stands after two spaces.
    """
    joined = re.sub(r"\\\n\s*", "", re.sub(r"(?m)^#+ ?", "", text))
    lines = re.findall(r"(?m)^\s*metasweep ([a-z].*)$", joined)
    return [shlex.split(line.partition("  ")[0]) for line in lines]


def bash_blocks(document: str) -> str:
    """Return the bash blocks of a Markdown document, one after the other."""
    return "\n".join(re.findall(r"^```bash\n(.*?)^```$", document, re.MULTILINE | re.DOTALL))


def parse(arguments: list[str]) -> None:
    """Have the command line read its arguments, and run nothing.

    Raises a UsageError for an unknown command or option, and for a missing argument.
    """
    group = get_command(app)
    context = group.make_context("metasweep", list(arguments))
    name, command, rest = group.resolve_command(context, list(arguments))
    command.make_context(name, rest, parent=context)


def dry_run(arguments: list[str], folder: Path) -> Done:
    """Dry-run the search that a `search` or `submit` command asks for."""
    kept, rest = [], iter(arguments[1:])
    for argument in rest:
        if argument == "--address":
            next(rest)
        elif argument != "--follow":
            kept.append(argument)
    return call("search", *kept, "--dry-run", folder=folder)

"""The command line: `metasweep`, and `python -m search`."""

from __future__ import annotations

import io
import logging
import sys

import typer
from rich.console import Console
from rich.markup import escape

from episodes.errors import DataError
from search.commands.cluster import status, stop
from search.commands.compare import compare
from search.commands.doctor import doctor
from search.commands.episode import draw
from search.commands.evaluate import evaluate_checkpoint
from search.commands.export import export_best
from search.commands.leaderboard import leaderboard
from search.commands.list import list_parts
from search.commands.search import resume, search
from search.commands.submit import submit
from search.commands.sync import sync
from search.commands.train import train
from search.commands.ui import ui
from search.disk_space import full, is_full
from search.errors import FailedError, UserError
from search.garbage import end_without_collecting
from search.house import check_house
from search.plain_text import visible

app = typer.Typer(
    name="metasweep",
    help="Find the best few-shot learner for a problem: search MAML-family algorithms, their "
    "hyperparameters and networks, and get back a configuration that holds up on new classes.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

SEARCH, CLUSTER = "Search", "On a Ray cluster"
USE, LOOK = "Use what was found", "Look around"
for name, command, panel in (
    ("search", search, SEARCH),
    ("resume", resume, SEARCH),
    ("sync", sync, SEARCH),
    ("leaderboard", leaderboard, SEARCH),
    ("compare", compare, SEARCH),
    ("submit", submit, CLUSTER),
    ("status", status, CLUSTER),
    ("stop", stop, CLUSTER),
    ("export", export_best, USE),
    ("train", train, USE),
    ("evaluate", evaluate_checkpoint, USE),
    ("ui", ui, LOOK),
    ("list", list_parts, LOOK),
    ("episode", draw, LOOK),
    ("doctor", doctor, LOOK),
):
    app.command(name, rich_help_panel=panel)(command)


def main() -> None:
    """Run the command line; a user's mistake ends in one message and an exit code."""
    end_without_collecting()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # Some terminals lack signs such as "±": a question mark is better than a traceback.
            stream.reconfigure(errors="replace")
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    try:
        check_house()
        app()
    except UserError as error:
        _complain(error)
        sys.exit(error.exit_code)
    except DataError as error:
        _complain(error)
        sys.exit(UserError.exit_code)
    except OSError as error:
        if is_full(error):
            _complain(FailedError(full(error.filename or "a disk")))
        elif error.filename:
            _complain(FailedError(f"{error.filename}: {error.strerror}"))
        else:
            raise
        sys.exit(FailedError.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)


def _complain(error: Exception) -> None:
    Console(stderr=True).print(
        f"[bold red]error[/bold red] {escape(visible(str(error)))}", soft_wrap=True
    )

"""`metasweep episode`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from search.commands.options import Data, absolute

if TYPE_CHECKING:
    from search.config import Problem


class MetaSplit(StrEnum):
    """Which classes, or functions, an episode is drawn from."""

    train = "train"
    validation = "validation"
    test = "test"


def draw(
    source: Annotated[
        str,
        typer.Argument(
            metavar="TASK", help="A task, or a search whose problem is meant (metasweep list)."
        ),
    ],
    index: Annotated[int, typer.Option(min=0, help="Which episode.")] = 0,
    split: Annotated[
        MetaSplit, typer.Option(help="Of meta-train, meta-validation or meta-test.")
    ] = MetaSplit.train,
    seed: Annotated[int, typer.Option(min=0, help="Of the stream of episodes.")] = 0,
    ways: Annotated[
        int | None, typer.Option(help="Classes. Default: the search's, else 5.")
    ] = None,
    shots: Annotated[
        int | None, typer.Option(help="Support examples. Default: the search's, else 1 to 10.")
    ] = None,
    query_shots: Annotated[
        int | None, typer.Option(help="Query examples. Default: the search's, else 3 to 10.")
    ] = None,
    class_split: Annotated[
        str | None, typer.Option(help="Published class split, such as lake.", show_default=False)
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option(
            "--option",
            metavar="NAME=VALUE",
            help="Set an option of the task: --option noise=0.1. Repeatable.",
        ),
    ] = None,
    data: Data = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="PNG file to write.")] = Path(
        "episode.png"
    ),
) -> None:
    """Draw one episode as a learner sees it: its support and its query set."""
    from search.distribution import distribution_of
    from search.drawing import draw_episode, png
    from search.output_file import write_bytes

    given = _options(option)
    usual = _problem(source, given)
    problem = replace(
        usual,
        ways=usual.ways if ways is None else ways,
        shots=usual.shots if shots is None else shots,
        query_shots=usual.query_shots if query_shots is None else query_shots,
        split=class_split or usual.split,
        options={**usual.options, **given},
    )
    distribution = distribution_of(problem, absolute(data))
    episode = distribution.sample(split.value, seed, range(index, index + 1))
    name = f"{problem.name}, meta-{split.value}, seed {seed}, episode {index}"
    # Not every task's classes have names.
    named = getattr(distribution, "class_names", None)
    classes = named(split.value) if named else ()
    sentences = getattr(distribution, "sentences", None)
    figure = draw_episode(episode, distribution.kind, name, classes, sentences)
    write_bytes(output, png(figure))
    console = Console(highlight=False, markup=False)
    console.print(
        f"{output}: {name}; {episode.support.inputs.shape[1]} support and "
        f"{episode.query.inputs.shape[1]} query examples",
        soft_wrap=True,
    )


def _options(assignments: list[str] | None) -> dict[str, Any]:
    """Return the values of NAME=VALUE. Raises UserError."""
    from search.errors import UserError
    from search.spec_source import parse_yaml

    values = {}
    for assignment in assignments or ():
        name, equals, text = assignment.partition("=")
        if not equals or not name:
            raise UserError(f"--option: {assignment!r}: must be NAME=VALUE, such as noise=0.1")
        values[name] = parse_yaml(text, f"--option {name}")
    return values


def _problem(source: str, options: Mapping[str, Any]) -> Problem:
    """Return a search's problem, or one of a task with the usual numbers of examples.

    options: of the task, which may decide of what kind it is.
    """
    from episodes import TASKS
    from search.config import Problem
    from search.extensions import resolve_field
    from search.spec import load_spec
    from search.spec_source import is_file, ready_made_names

    if source not in TASKS and (is_file(source) or source in ready_made_names()):
        return load_spec(source).problem_for("")
    resolve_field("TASK", "task", source)
    task = TASKS[source]
    split = task.splits[0] if task.splits else None
    kind = task.kind_of(options)
    if kind == "classification":
        return Problem(source, kind, shots=1, query_shots=5, ways=5, split=split)
    if kind == "segmentation":
        return Problem(source, kind, shots=3, query_shots=3, split=split)
    return Problem(source, kind, shots=10, query_shots=10, split=split)

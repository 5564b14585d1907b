"""`metasweep list`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from episodes import Task

WIDE = 140
SHORT = {
    "adapts": "adapts",
    "rate": "rate",
    "preconditioner": "preconditioner",
    "inner_optimizer": "inner step",
    "meta_gradient": "meta-gradient",
    "query_loss": "query loss",
    "head": "head",
    "inner_normalization": "normalization",
}


def list_parts() -> None:
    """List algorithms with what each composes, networks, tasks and ready-made searches.

    Those that installed packages offer are among them; what is wrong with one stands in its line.
    """
    from algorithms import ALGORITHMS
    from episodes import TASKS
    from networks import NETWORKS
    from search.config_file import ready_made_configurations
    from search.extensions import broken
    from search.spec import ready_made

    unusable = {
        "algorithms": broken("algorithm"),
        "networks": broken("network"),
        "tasks": broken("task"),
    }
    sections: dict[str, Iterable[tuple[str, str]]] = {
        "algorithms": {name: entry.summary for name, entry in ALGORITHMS.items()}.items(),
        "networks": {name: entry.summary for name, entry in NETWORKS.items()}.items(),
        "tasks": {name: task.description for name, task in TASKS.items()}.items(),
        "searches": ready_made(),
        "configurations": ready_made_configurations(),
    }
    console = Console(highlight=False)
    for title, rows in sections.items():
        console.print(f"[bold]{title}[/bold]")
        for name, summary in rows:
            console.print(f"  {name:<33}{escape(summary)}", soft_wrap=True)
            for line in choices(TASKS[name]) if title == "tasks" else ():
                console.print(f"[dim]{'':<35}{escape(line)}[/dim]", soft_wrap=True)
        for name, problem in unusable.get(title, {}).items():
            console.print(
                f"  {name:<33}[red]cannot be used[/red]: {escape(problem)}", soft_wrap=True
            )
    console.print(recipes(wide=console.width >= WIDE))


def choices(task: Task) -> Iterator[str]:
    """Yield what may be chosen about a task, a line each: its splits and its options."""
    if task.splits:
        yield f"split: {' or '.join(task.splits)}"
    for option in task.options:
        facts = filter(None, (option.expected, option.usual))
        yield f"options.{option.name}: {option.description} ({'; '.join(facts)})"


def recipes(wide: bool) -> Table:
    """Return the table of recipes: what each composes, where it differs from MAML.

    wide: with a column for each part; else with all differences in one.
    """
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), title="what they compose, where not as MAML")
    table.add_column("recipe", no_wrap=True)
    for heading in SHORT.values() if wide else ["differs from MAML by"]:
        table.add_column(heading, no_wrap=wide)
    for name, cells in compositions().items():
        if wide:
            table.add_row(name, *(cell or "·" for cell in cells.values()))
        else:
            changed = (f"{part} {cell}" for part, cell in cells.items() if cell)
            table.add_row(name, "nothing" if name == "maml" else "; ".join(changed))
    return table


def compositions() -> dict[str, dict[str, str]]:
    """Return the parts of every recipe by heading; empty where they are MAML's, but for MAML."""
    from algorithms import ALGORITHMS
    from algorithms.recipe import MAML

    plain = MAML.parts()
    table: dict[str, dict[str, str]] = {}
    for name, entry in ALGORITHMS.items():
        if entry.recipe is not None:
            parts = entry.recipe.parts()
            if parts["rate_learned"]:
                parts["rate"] = f"{parts['rate']}, learned"
            if parts["proximal"]:
                parts["inner_optimizer"] = f"{parts['inner_optimizer']}, proximal"
            table[name] = {
                heading: str(parts[key]) if parts[key] != plain[key] or name == "maml" else ""
                for key, heading in SHORT.items()
            }
    return table

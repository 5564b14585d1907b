"""`metasweep list`."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console


def list_parts() -> None:
    """List algorithms, networks, tasks and ready-made searches, a line each."""
    from algorithms import ALGORITHMS
    from episodes import TASKS
    from networks import NETWORKS
    from search.spec import ready_made

    sections: dict[str, Iterable[tuple[str, str]]] = {
        "algorithms": ((name, entry.summary) for name, entry in ALGORITHMS.items()),
        "networks": ((name, entry.summary) for name, entry in NETWORKS.items()),
        "tasks": ((name, task.description) for name, task in TASKS.items()),
        "searches": ready_made(),
    }
    console = Console(highlight=False)
    for title, rows in sections.items():
        console.print(f"[bold]{title}[/bold]")
        for name, summary in rows:
            console.print(f"  {name:<22}{summary}", soft_wrap=True)

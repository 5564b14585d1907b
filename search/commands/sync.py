"""`metasweep sync`."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console

from search.commands.options import DEFAULT_STORAGE, RecordedUri, Storage
from search.garbage import collector_paused


def sync(
    name: Annotated[str, typer.Argument(help="Name of a search whose store was away.")],
    tracking_uri: RecordedUri = None,
    storage: Storage = DEFAULT_STORAGE,
) -> None:
    """Send to MLflow what is on disk and not there yet; nothing is sent twice."""
    with collector_paused(for_good=True):
        from search.synchronize import synchronize
        from search.tracking_client import resolve_uri

    given = resolve_uri(tracking_uri) if tracking_uri else None
    outcome = synchronize(name, storage=storage, tracking_uri=given)
    console = Console(highlight=False, markup=False)
    jobs = "1 run" if outcome.jobs == 1 else f"{outcome.jobs} runs"
    sent = f"{jobs} brought up to date" if outcome.jobs else "nothing was missing"
    console.print(f"{name}: {sent} in {outcome.tracking_uri}", soft_wrap=True)
    next_step = "leaderboard" if outcome.ended else "resume"
    console.print(f"Next:  metasweep {next_step} {name}", soft_wrap=True)

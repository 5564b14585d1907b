"""`metasweep export`."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from search.commands.options import TrackingUri
from search.garbage import collector_paused


def export_best(
    name: Annotated[str, typer.Argument(help="A search, or a problem.")],
    rank: Annotated[int, typer.Option(min=1, help="Which row of the leaderboard.")] = 1,
    output: Annotated[Path, typer.Option("--output", "-o", help="File to write.")] = Path(
        "best.yaml"
    ),
    tracking_uri: TrackingUri = None,
) -> None:
    """Write a configuration with its results and provenance, ready for `metasweep train`."""
    with collector_paused(for_good=True):
        from search import export
        from search.results import exported
        from search.tracking_reader import Reader

    document = exported(Reader(tracking_uri), name, rank)
    export.write(output, document)
    config, results = document["config"], document["results"]
    console = Console(highlight=False, markup=False)
    console.print(
        f"{output}: {config['algorithm']} on {config['network']}, "
        f"{results['metric']} {results['validation']['mean']:.4g} on meta-validation, "
        f"{_shown(results['test']['mean'])} on meta-test",
        soft_wrap=True,
    )
    if not results["confirmed"]:
        console.print("Not confirmed: one training, which was chosen since it came out well.")
    console.print(f"Train it again:  metasweep train {shlex.quote(str(output))}", soft_wrap=True)


def _shown(mean: float | None) -> str:
    return "not a finite number" if mean is None else f"{mean:.4g}"

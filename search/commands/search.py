"""`metasweep search` and `metasweep resume`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from search.commands.options import DEFAULT_STORAGE, Data, Storage, TrackingUri, absolute
from search.errors import UserError

if TYPE_CHECKING:
    from search.launch import Outcome

INTERRUPTED = 130


def search(
    spec: Annotated[
        str, typer.Argument(help="YAML file, or the name of a ready-made search (metasweep list).")
    ],
    name: Annotated[str | None, typer.Option(help="Name of the search.")] = None,
    trials: Annotated[int | None, typer.Option(help="Trials to run.")] = None,
    episodes: Annotated[int | None, typer.Option(help="Training episodes of a full trial.")] = None,
    time_limit: Annotated[
        str | None, typer.Option(help="Time for everything, confirmation included: 8m, 1h30m.")
    ] = None,
    concurrency: Annotated[str | None, typer.Option(help="Trials at once.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of the search.")] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Set any key: --set confirmation.seeds=5. Repeatable.",
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Validate, show what would run, and run nothing.")
    ] = False,
    tracking_uri: TrackingUri = None,
    storage: Storage = DEFAULT_STORAGE,
    data: Data = None,
) -> None:
    """Search for the best few-shot learner, confirm the best few, and print the leaderboard."""
    from search.spec import load_spec

    options = {
        "name": name,
        "budget.trials": trials,
        "budget.episodes": episodes,
        "budget.time_limit": time_limit,
        "concurrency": concurrency,
        "seed": seed,
    }
    overrides = {key: str(value) for key, value in options.items() if value is not None}
    if episodes is not None:
        # The rungs of the file belong to its own budget; these follow the new one.
        overrides["budget.first_rung"] = "null"
    loaded = load_spec(spec, overrides | _assignments(set_ or []))
    console = Console()
    if dry_run:
        from search.dry_run import show

        show(loaded, absolute(data), console)
        return
    from search.launch import start
    from search.tracking_client import resolve_uri

    outcome = start(
        loaded,
        tracking_uri=resolve_uri(tracking_uri),
        storage=storage,
        data=absolute(data),
        named=name is not None,
        console=console,
    )
    _conclude(outcome, console)


def resume(
    name: Annotated[str, typer.Argument(help="Name of an interrupted search.")],
    time_limit: Annotated[
        str | None, typer.Option(help="Time from now. Default: what is left of the search's own.")
    ] = None,
    tracking_uri: TrackingUri = None,
    storage: Storage = DEFAULT_STORAGE,
    data: Data = None,
) -> None:
    """Go on with a search that was interrupted."""
    import os

    from search import launch
    from search.duration import seconds
    from search.tracking_client import resolve_uri

    try:
        limit = None if time_limit is None else seconds(time_limit)
    except ValueError as error:
        raise UserError(f"--time-limit: {time_limit}: {error}") from None
    given = tracking_uri or os.environ.get("MLFLOW_TRACKING_URI")
    console = Console()
    outcome = launch.resume(
        name,
        tracking_uri=resolve_uri(given) if given else None,
        storage=storage,
        data=absolute(data),
        time_limit=limit,
        console=console,
    )
    _conclude(outcome, console)


def _assignments(texts: list[str]) -> dict[str, str]:
    """Split KEY=VALUE texts. Raises UserError for one without a key or an equals sign."""
    pairs = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not key or not equals:
            raise UserError(f"--set: {text!r}: must be KEY=VALUE, such as budget.trials=12")
        pairs[key] = value
    return pairs


def _conclude(outcome: Outcome, console: Console) -> None:
    """Print how the search stands and what to type next."""
    from search.commands.leaderboard import print_board

    name = outcome.name
    if outcome.interrupted:
        console.print(f"\nInterrupted. Go on with:  metasweep resume {name}", soft_wrap=True)
        raise typer.Exit(INTERRUPTED)
    console.print()
    print_board(name, outcome.tracking_uri, top=10, console=console)
    console.print(
        f"\nNext:\n"
        f"  metasweep leaderboard {name}\n"
        f"  metasweep export {name} -o best.yaml\n"
        f"  metasweep ui\n",
        soft_wrap=True,
        highlight=False,
    )

"""`metasweep search` and `metasweep resume`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape

from search.commands.options import (
    DEFAULT_STORAGE,
    Assignments,
    Concurrency,
    Data,
    Episodes,
    Follow,
    RecordedUri,
    SearchName,
    SearchSeed,
    SpecArgument,
    Storage,
    TimeLimit,
    TrackingUri,
    Trials,
    absolute,
    overrides,
)
from search.errors import UserError
from search.garbage import collector_paused
from search.search_folder import SearchFolder
from search.submitted import is_submitted

if TYPE_CHECKING:
    from search.launch import Outcome

INTERRUPTED = 130


def search(
    spec: SpecArgument,
    name: SearchName = None,
    trials: Trials = None,
    episodes: Episodes = None,
    time_limit: TimeLimit = None,
    concurrency: Concurrency = None,
    seed: SearchSeed = None,
    set_: Assignments = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Validate, show what would run, and run nothing.")
    ] = False,
    tracking_uri: TrackingUri = None,
    storage: Storage = DEFAULT_STORAGE,
    data: Data = None,
) -> None:
    """Search for the best few-shot learner, confirm the best few, and print the leaderboard."""
    from search.spec import load_spec

    given = overrides(name, trials, episodes, time_limit, concurrency, seed, set_)
    loaded = load_spec(spec, given)
    console = Console()
    if dry_run:
        from search.dry_run import show

        show(loaded, absolute(data), console)
        return
    with collector_paused(for_good=True):
        from search.launch import start
        from search.tracking_client import resolve_uri

    for line in loaded.unused():
        console.print(f"[yellow]{escape(line)}[/yellow]", highlight=False, soft_wrap=True)
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
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="Name of an interrupted search.")],
    time_limit: Annotated[
        str | None,
        typer.Option(
            help="Time from now. Default: what is left of the search's own. Trials that it ends "
            "are over."
        ),
    ] = None,
    tracking_uri: RecordedUri = None,
    storage: Storage = DEFAULT_STORAGE,
    data: Data = None,
    address: Annotated[
        str | None,
        typer.Option(
            help="Dashboard of the cluster that the search is on, such as http://localhost:8265.",
            show_default=False,
        ),
    ] = None,
    follow: Follow = False,
    spec: Annotated[
        str | None,
        typer.Option(
            help="With --address, for a cluster that has not seen the search: its specification, "
            "whose own code the cluster needs.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Go on with a search that was interrupted; with --address, one on a cluster."""
    from search.duration import seconds

    try:
        limit = None if time_limit is None else seconds(time_limit)
    except ValueError as error:
        raise UserError(f"--time-limit: {time_limit}: {error}") from None
    if address is not None:
        from search.commands.submit import resume_there

        # What METASWEEP_STORAGE says here is not meant for the cluster.
        source = context.get_parameter_source("storage")
        is_given = source is not None and source.name == "COMMANDLINE"
        resume_there(
            name,
            address=address,
            time_limit=time_limit,
            storage=storage if is_given else None,
            data=data,
            tracking_uri=tracking_uri,
            spec=spec,
            follow=follow,
        )
        return
    for option, value in (("--follow", follow), ("--spec", spec)):
        if value:
            raise UserError(f"{option}: is for a search on a cluster: give its --address, too")
    SearchFolder(storage, name).look()  # At once, before Ray and torch are imported.
    with collector_paused(for_good=True):
        from search import launch
        from search.tracking_client import resolve_uri
    console = Console()
    outcome = launch.resume(
        name,
        tracking_uri=resolve_uri(tracking_uri) if tracking_uri else None,
        storage=storage,
        data=absolute(data),
        time_limit=limit,
        console=console,
    )
    _conclude(outcome, console)


def _conclude(outcome: Outcome, console: Console) -> None:
    """Print how the search stands and what to type next."""
    from search.commands.leaderboard import print_board
    from search.masking import masked

    name = outcome.name
    if outcome.interrupted:
        # Who reads a job's log is told by `metasweep stop` and `status`, which know the address.
        how = "" if is_submitted() else f" Go on with:  metasweep resume {name}"
        console.print(f"\nInterrupted.{how}", soft_wrap=True)
        raise typer.Exit(INTERRUPTED)
    console.print()
    print_board(name, outcome.tracking_uri, top=10, console=console)
    # The machine that reads a job's log has stores of its own.
    where = f" --tracking-uri {masked(outcome.tracking_uri)}" if is_submitted() else ""
    console.print(
        f"\nNext:\n"
        f"  metasweep leaderboard {name}{where}\n"
        f"  metasweep export {name}{where} -o best.yaml\n"
        f"  metasweep ui{where}\n",
        soft_wrap=True,
        highlight=False,
        markup=False,
    )

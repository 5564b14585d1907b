"""`metasweep train`."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

from search.commands.options import DEFAULT_STORAGE, Data, Storage, TrackingUri, absolute
from search.config import MOST_EPISODES, MOST_SEEDS
from search.errors import UserError
from search.garbage import collector_paused

if TYPE_CHECKING:
    from search import jobs


def train(
    config: Annotated[Path, typer.Argument(help="An exported or hand-written configuration.")],
    seeds: Annotated[
        int, typer.Option(min=1, max=MOST_SEEDS, help="Train so often, with seeds in a row.")
    ] = 3,
    episodes: Annotated[
        int | None,
        typer.Option(min=1, max=MOST_EPISODES, help="Other budget than the configuration's."),
    ] = None,
    tracking_uri: TrackingUri = None,
    storage: Storage = DEFAULT_STORAGE,
    data: Data = None,
) -> None:
    """Train a configuration, record it like a trial, and report meta-test with a 95 % interval."""
    from dataclasses import replace

    import numpy as np

    with collector_paused(for_good=True):
        from search.config_file import read_config
        from search.devices import has_device
        from search.distribution import distribution_of
        from search.fitting import check_builds
        from search.records import interval
        from search.search_folder import check_storage
        from search.tracking import Tracker
        from search.tracking_client import check
        from search.training_run import train_recorded

    first = read_config(config)
    if episodes is not None:
        rungs = tuple(rung for rung in first.rungs if rung < episodes)
        first = replace(first, episodes=episodes, rungs=rungs)
    if not has_device(first.device):
        raise UserError(f"{config}: device: {first.device}: is not here; write device: cpu")
    distribution = distribution_of(first.problem, absolute(data))
    # A hand-written file does not say which data it is about: those that are here.
    first = replace(first, problem=replace(first.problem, data_digest=distribution.digest))
    check_builds(first, distribution)
    check_storage(storage)
    tracker = Tracker(tracking_uri, storage.expanduser().absolute() / "artifacts")
    check(tracker.uri)
    console = Console(highlight=False, markup=False)
    metric = first.problem.metric
    values = []
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    for seed in range(first.seed, first.seed + seeds * first.seeds, first.seeds):
        with Progress(*columns, TimeRemainingColumn(), console=console, transient=True) as bar:
            named = f"seed {seed}" if first.seeds == 1 else f"seeds {seed}-{seed + first.seeds - 1}"
            task = bar.add_task(named, total=first.episodes)
            trained = train_recorded(
                replace(first, seed=seed),
                distribution,
                tracker,
                storage,
                functools.partial(_advance, bar, task),
            )
        table = trained.folder.table()
        column = "score_after" if metric != "query_loss" else "loss_after"
        test = table[table["split"] == "test"].groupby("index")[column].mean(skipna=False)
        values.append(test.to_numpy())
        console.print(
            f"{named}: meta-test {metric} {_meta_test(trained.progress.summaries)}, "
            f"checkpoint {trained.folder.path}",
            soft_wrap=True,
        )
    mean = interval(np.mean(values, axis=0))
    together = seeds * first.seeds
    console.print(
        f"{first.algorithm} on {first.network}, {first.problem.name}: meta-test {metric} "
        f"{mean.mean:.4f}, 95 % interval {mean.ci95_low:.4f} to {mean.ci95_high:.4f} over "
        f"{mean.n} episodes, mean of {together} seed{'s' * (together > 1)} "
        "(the interval covers neither seeds nor new classes)",
        soft_wrap=True,
    )


def _meta_test(numbers: Mapping[str, float]) -> str:
    """Return mean and interval; a summary that is not finite is not among the numbers."""
    parts = [numbers.get(f"test_{part}") for part in ("mean", "ci95_low", "ci95_high")]
    mean, low, high = ("not finite" if part is None else f"{part:.4f}" for part in parts)
    return f"{mean} ({low} to {high})"


def _advance(bar: Progress, task: TaskID, told: jobs.Progress) -> None:
    bar.update(task, completed=told.episodes)

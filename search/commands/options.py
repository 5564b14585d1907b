"""Options that several commands take."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from episodes.folders import absolute_path
from search.errors import UserError

TrackingUri = Annotated[
    str | None,
    typer.Option(
        "--tracking-uri",
        help="MLflow store. Default: MLFLOW_TRACKING_URI, else sqlite:///mlflow.db here.",
        show_default=False,
    ),
]
RecordedUri = Annotated[
    str | None,
    typer.Option(
        "--tracking-uri",
        help="MLflow store. Default: MLFLOW_TRACKING_URI if the search is there, else the store "
        "that it was recorded in.",
        show_default=False,
    ),
]


def _with_a_home(storage: Path) -> Path:
    absolute_path(storage, "--storage")  # Raises DataError for ~ of nobody.
    return storage


Storage = Annotated[
    Path,
    typer.Option(
        "--storage",
        envvar="METASWEEP_STORAGE",
        callback=_with_a_home,
        help="Folder that holds searches, checkpoints and episodes.",
    ),
]
Data = Annotated[
    Path | None,
    typer.Option(
        "--data",
        help="Folder of data sets. Default: METASWEEP_DATA, else ~/.cache/metasweep (downloads).",
        show_default=False,
    ),
]
DEFAULT_STORAGE = Path("metasweep-store")

SpecArgument = Annotated[
    str, typer.Argument(help="YAML file, or the name of a ready-made search (metasweep list).")
]
SearchName = Annotated[str | None, typer.Option("--name", help="Name of the search.")]
Trials = Annotated[int | None, typer.Option(help="Trials to run.")]
Episodes = Annotated[int | None, typer.Option(help="Training episodes of a full trial.")]
TimeLimit = Annotated[
    str | None, typer.Option(help="Time for everything, confirmation included: 8m, 1h30m.")
]
Concurrency = Annotated[str | None, typer.Option(help="Trials at once.")]
SearchSeed = Annotated[int | None, typer.Option(help="Seed of the search.")]
Assignments = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Set any key: --set confirmation.seeds=5. Repeatable.",
    ),
]
Address = Annotated[
    str | None,
    typer.Option(
        "--address",
        help="Dashboard of the cluster, such as http://localhost:8265. "
        "Default: RAY_API_SERVER_ADDRESS, else RAY_ADDRESS where it is a web address.",
        show_default=False,
    ),
]
Follow = Annotated[
    bool, typer.Option("--follow", help="Show its log until it ends; Ctrl-C only stops showing.")
]


def absolute(data: Path | None) -> str | None:
    """Return the data folder, if one is given or METASWEEP_DATA is set, as workers can find it.

    They run in folders of their own, where a relative path would lead elsewhere.
    """
    given = data or os.environ.get("METASWEEP_DATA")
    return str(absolute_path(given, "data folder")) if given else None


def overrides(
    name: str | None,
    trials: int | None,
    episodes: int | None,
    time_limit: str | None,
    concurrency: str | None,
    seed: int | None,
    assignments: list[str] | None,
) -> dict[str, str]:
    """Return what options set on top of a specification, as YAML by dotted key.

    Raises UserError for a --set without a key or an equals sign.
    """
    options = {
        "name": name,
        "budget.trials": trials,
        "budget.episodes": episodes,
        "budget.time_limit": time_limit,
        "concurrency": concurrency,
        "seed": seed,
    }
    given = {key: str(value) for key, value in options.items() if value is not None}
    given |= _assigned(assignments or [])
    if "budget.episodes" in given:
        # The rungs of the file belong to its own budget; these follow the new one.
        given.setdefault("budget.first_rung", "null")
    return given


def _assigned(texts: list[str]) -> dict[str, str]:
    pairs = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not key or not equals:
            raise UserError(f"--set: {text!r}: must be KEY=VALUE, such as budget.trials=12")
        pairs[key] = value
    return pairs

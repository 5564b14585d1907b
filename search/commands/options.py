"""Options that several commands take."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

TrackingUri = Annotated[
    str | None,
    typer.Option(
        "--tracking-uri",
        help="MLflow store. Default: MLFLOW_TRACKING_URI, else sqlite:///mlflow.db here.",
        show_default=False,
    ),
]
Storage = Annotated[
    Path, typer.Option("--storage", help="Folder that holds searches, checkpoints and episodes.")
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


def absolute(data: Path | None) -> str | None:
    """Return the data folder, if one is given or METASWEEP_DATA is set, as workers can find it.

    They run in folders of their own, where a relative path would lead elsewhere.
    """
    given = data or os.environ.get("METASWEEP_DATA")
    return str(Path(given).expanduser().absolute()) if given else None

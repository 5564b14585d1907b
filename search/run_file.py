"""Which MLflow run a job's folder belongs to, and whether that run is closed.

Kept in the folder, so that the job's own process learns where to send its episodes, and so that
whoever goes on with the job finds its run again.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from search.atomic_file import write_atomically
from search.masking import mask


@dataclass(frozen=True)
class Run:
    """A run in an MLflow store. closed: whether its end was recorded, with its summaries."""

    id: str
    closed: bool = False


class RunFile:
    """`runs.json`: the run in each store, by the store's address without its password."""

    def __init__(self, folder: Path, uri: str):
        self._file = folder / "runs.json"
        self._store = mask(uri, uri)

    def read(self) -> Run | None:
        """Return the run in this store; None before it was opened."""
        runs = self._runs()
        return Run(**runs[self._store]) if self._store in runs else None

    def write(self, run: Run) -> None:
        """Set the run in this store."""
        self._file.parent.mkdir(parents=True, exist_ok=True)
        runs = self._runs() | {self._store: asdict(run)}
        write_atomically(self._file, json.dumps(runs).encode())

    def _runs(self) -> dict[str, dict[str, Any]]:
        try:
            return dict(json.loads(self._file.read_text()))
        except FileNotFoundError:
            return {}

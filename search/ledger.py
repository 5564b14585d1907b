"""What of a job's episodes its MLflow run holds already."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from search.atomic_file import write_atomically
from search.checkpoint import Shard
from search.errors import FailedError

PATIENCE = 10.0


class Ledger:
    """`published.json`: the shards that a run has, and whether that is all of them."""

    def __init__(self, folder: Path, run_id: str):
        self._file = folder / "published.json"
        self._run_id = run_id
        self._runs: dict[str, dict[str, Any]] = {}
        self._read()

    @property
    def is_complete(self) -> bool:
        """Whether a job that has ended was sent whole."""
        return bool(self._own.get("complete"))

    def has(self, shard: Shard) -> bool:
        """Whether the run has these very bytes."""
        return self._own.get("shards", {}).get(shard.name) == shard.sha256

    def add(self, shard: Shard) -> None:
        """Note that the run has a shard."""
        self._own.setdefault("shards", {})[shard.name] = shard.sha256
        self._write()

    @property
    def listed(self) -> list[str]:
        """The shards, in order, that the run says its table is made of."""
        return list(self._own.get("listed", []))

    def set_listed(self, names: list[str]) -> None:
        """Note that the run says so."""
        self._own["listed"] = names
        self._write()

    def complete(self) -> None:
        """Note that no more will come."""
        self._own["complete"] = True
        self._write()

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Let no other process send meanwhile, and know what others have sent.

        Raises FailedError when another one is at it, and stays so.
        """
        lock = FileLock(self._file.with_suffix(".lock"))
        try:
            lock.acquire(timeout=PATIENCE)
        except Timeout:
            raise FailedError(f"{self._file.parent}: another process is sending this") from None
        try:
            self._read()
            yield
        finally:
            lock.release()

    @property
    def _own(self) -> dict[str, Any]:
        return self._runs.setdefault(self._run_id, {})

    def _read(self) -> None:
        if self._file.exists():
            self._runs = json.loads(self._file.read_text())

    def _write(self) -> None:
        write_atomically(self._file, json.dumps(self._runs).encode())

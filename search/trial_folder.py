"""What one trial keeps on disk: its episodes and, sealed together with them, its checkpoints."""

from __future__ import annotations

import hashlib
import logging
import shutil
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from search import checkpoint, episode_table
from search.atomic_file import write_atomically
from search.checkpoint import CheckpointError, Shard
from search.config import Config
from search.records import EpisodeRecords
from search.snapshot import Snapshot

CHECKPOINTS, CHECKPOINTS_KEPT = "checkpoints", 2

log = logging.getLogger("metasweep")


class TrialFolder:
    """The folder of one trial: `episodes/*.parquet`, and `checkpoints/<number>/`.

    Records gather in memory until `seal` writes them as one shard, and then the checkpoint that
    lists every shard so far. What no valid checkpoint lists was not sealed: `resume` drops it, and
    the training that goes on from the checkpoint computes it again.
    """

    def __init__(self, path: Path):
        self.path = path
        self._buffer: list[EpisodeRecords] = []
        self._shards: tuple[Shard, ...] | None = None

    @property
    def shards(self) -> tuple[Shard, ...]:
        """The sealed shards, oldest first."""
        if self._shards is None:
            newest = self._newest_valid()
            self._shards = () if newest is None else newest.shards
        return self._shards

    def shard_path(self, shard: Shard) -> Path:
        """Return where a shard lies."""
        return self.path / "episodes" / shard.name

    def add(self, records: Iterable[EpisodeRecords]) -> None:
        """Keep records, each of one split, until they are sealed."""
        self._buffer.extend(part for part in records if len(part))

    def seal(self, snapshot: Snapshot, config: Config) -> None:
        """Write what was added since the last time, and the snapshot that goes with it."""
        shards = self.shards
        if self._buffer:
            shards = (*shards, self._write_shard(f"episodes-{len(shards):05d}.parquet"))
        older = self._checkpoints()
        number = int(older[-1].name) + 1 if older else 0
        checkpoint.save(self._checkpoint_folder / f"{number:06d}", snapshot, config, shards)
        self._shards, self._buffer = shards, []
        for folder in older[: -(CHECKPOINTS_KEPT - 1)]:
            shutil.rmtree(folder)

    def resume(self, config: Config) -> Snapshot | None:
        """Return the newest sealed snapshot, or None when there is none to go on from.

        A damaged checkpoint, or one with a damaged shard, gives way to the one before. Everything
        newer than the snapshot is removed. Raises UserError when the folder belongs to another
        configuration.
        """
        found = self._newest_valid(config, remove_damaged=True)
        self._buffer = []
        self._shards = () if found is None else found.shards
        sealed = {shard.name for shard in self._shards}
        for file in (self.path / "episodes").glob("*"):
            if file.name not in sealed:
                file.unlink()
        return None if found is None else found.snapshot

    def table(self) -> pd.DataFrame:
        """Return all sealed episodes, in the order they were made (columns: episode_table)."""
        return episode_table.read([self.shard_path(shard) for shard in self.shards])

    @property
    def _checkpoint_folder(self) -> Path:
        return self.path / CHECKPOINTS

    def _checkpoints(self) -> list[Path]:
        """Return the checkpoint folders, oldest first."""
        return sorted(f for f in self._checkpoint_folder.glob("*") if f.name.isdigit())

    def _newest_valid(
        self, config: Config | None = None, remove_damaged: bool = False
    ) -> checkpoint.Checkpoint | None:
        for folder in reversed(self._checkpoints()):
            try:
                found = checkpoint.load(folder, config)
                self._verify(found.shards)
                return found
            except CheckpointError as error:
                log.warning("%s; going back to the one before", error)
                if remove_damaged:
                    shutil.rmtree(folder)
        return None

    def _verify(self, shards: Iterable[Shard]) -> None:
        for shard in shards:
            path = self.shard_path(shard)
            content = path.read_bytes() if path.exists() else b""
            if hashlib.sha256(content).hexdigest() != shard.sha256:
                raise CheckpointError(f"episodes {path}: missing, truncated or changed")

    def _write_shard(self, name: str) -> Shard:
        content = episode_table.to_parquet(self._buffer)
        path = self.path / "episodes" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, content)
        rows = sum(len(part) for part in self._buffer)
        return Shard(name, rows, hashlib.sha256(content).hexdigest())


def newest_checkpoint(path: Path) -> Path:
    """Return the newest checkpoint in a trial's folder; any other path is returned as it is."""
    kept = sorted((path / CHECKPOINTS).glob("*"))
    return kept[-1] if kept else path

"""What one trial keeps on disk: its episodes and, sealed together with them, its checkpoints."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import re
import shutil
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from search import checkpoint, episode_table
from search.atomic_file import write_atomically
from search.attempts import Attempts
from search.checkpoint import CheckpointError, DamagedError, Shard
from search.config import Config
from search.records import EpisodeRecords
from search.snapshot import Snapshot

CHECKPOINTS, CHECKPOINTS_KEPT = "checkpoints", 2
DAMAGED, DAMAGED_KEPT = "damaged", 2
CHECKPOINT_NAME = re.compile(r"\d{4}-\d{6}")
"""Attempt and number: those of an attempt that was superseded come before all later ones."""

log = logging.getLogger("metasweep")


class TrialFolder:
    """The folder of one trial: `episodes/*.parquet`, `checkpoints/*/` and `attempts/*.json`.

    Records gather in memory until `seal` writes them as one shard, and then the checkpoint that
    lists every shard so far. What no valid checkpoint lists was not sealed: `resume` drops it, and
    the training that goes on from the checkpoint computes it again.
    Whoever resumes supersedes whoever worked here before: no file is ever written by two.
    shards: what is sealed, where that is known.
    attempt: which one has sealed it; None for nobody who works here, such as a reader.
    in_vain: attempts before this one, of the same driver, that ended where they began.
    memory_ran_out: whether the one before it seems to have been killed for lack of memory.
    """

    def __init__(
        self, path: Path, shards: tuple[Shard, ...] | None = None, attempt: int | None = None
    ):
        self.path = path
        self.attempts = Attempts(path / "attempts")
        self.in_vain = 0
        self.memory_ran_out = False
        self._attempt = attempt
        self._buffer: list[EpisodeRecords] = []
        self._shards = shards

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
        """Write what was added since the last time, and the snapshot that goes with it.

        Raises SupersededError when another process has resumed since, and OSError when the disk is
        full: then all is as it was before, and it may be called again.
        """
        if self._attempt is None:
            self._attempt = self.attempts.claim()
        self.attempts.check(self._attempt)
        shards = self.shards
        if self._buffer:
            shards = (*shards, self._write_shard(len(shards)))
        older = self._checkpoints()
        number = 1 + max((int(folder.name[-6:]) for folder in older), default=-1)
        folder = self._checkpoint_folder / f"{self._attempt:04d}-{number:06d}"
        try:
            checkpoint.save(folder, snapshot, config, shards)
        except OSError:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        # Whoever took over in the meantime may not have seen this checkpoint.
        self.attempts.check(self._attempt)
        self._shards, self._buffer = shards, []
        for folder in older[: -(CHECKPOINTS_KEPT - 1)]:
            shutil.rmtree(folder)

    def resume(self, config: Config, by: str = "") -> Snapshot | None:
        """Return the newest sealed snapshot, or None when there is none to go on from.

        Begins an attempt, on behalf of the driver `by`. A damaged checkpoint, or one with a damaged
        shard, is set aside with its episodes and gives way to the one before. What was not sealed
        is removed. Raises CheckpointError when something cannot be read or is of another version of
        metasweep, and UserError when the folder belongs to another configuration: then everything
        stays as it is.
        """
        self._attempt = self.attempts.claim()
        found, damaged = self._look(config)
        files = _listed(self.path / "episodes")
        self._shards = () if found is None else found.shards
        sealed = {shard.name for shard in self._shards}
        unsealed = [file for file in files if file.name not in sealed]
        self._set_aside(damaged, unsealed)
        self.in_vain = self.attempts.in_vain(self._attempt, by, self._newest_name())
        self.memory_ran_out = self.attempts.memory_ran_out(self._attempt, by)
        self.attempts.describe(self._attempt, by, self._newest_name())
        self._buffer = []
        return None if found is None else found.snapshot

    def as_sealed(self) -> TrialFolder:
        """Return the folder with what is sealed by now, and nothing that is sealed later."""
        return TrialFolder(self.path, self.shards, self._attempt)

    def check(self) -> None:
        """Raise SupersededError when another process has resumed since this one worked here."""
        if self._attempt is not None:
            self.attempts.check(self._attempt)

    def newest(self, config: Config) -> Snapshot | None:
        """Return the newest sealed snapshot, and leave everything as it is."""
        found = self._newest_valid(config)
        return None if found is None else found.snapshot

    def newest_checkpoint(self) -> checkpoint.Checkpoint | None:
        """Return the newest sealed checkpoint, whosever it is, and leave everything as it is."""
        return self._newest_valid()

    def table(self) -> pd.DataFrame:
        """Return all sealed episodes, in the order they were made (columns: episode_table)."""
        return episode_table.read([self.shard_path(shard) for shard in self.shards])

    @property
    def _checkpoint_folder(self) -> Path:
        return self.path / CHECKPOINTS

    def _checkpoints(self) -> list[Path]:
        """Return the checkpoint folders, oldest first."""
        found = _listed(self._checkpoint_folder)
        return [folder for folder in found if CHECKPOINT_NAME.fullmatch(folder.name)]

    def _newest_name(self) -> str:
        return "".join(folder.name for folder in self._checkpoints()[-1:])

    def _newest_valid(self, config: Config | None = None) -> checkpoint.Checkpoint | None:
        found, _ = self._look(config)
        return found

    def _look(self, config: Config | None) -> tuple[checkpoint.Checkpoint | None, list[Path]]:
        """Return the newest checkpoint that is whole, and the damaged ones after it, newest first.

        Raises CheckpointError when one cannot be read: it may be whole.
        """
        damaged: list[Path] = []
        for folder in reversed(self._checkpoints()):
            try:
                found = checkpoint.load(folder, config)
                self._verify(found.shards)
                return found, damaged
            except DamagedError as error:
                log.warning("%s; going back to the one before", error)
                damaged.append(folder)
        return None, damaged

    def _set_aside(self, damaged: list[Path], unsealed: list[Path]) -> None:
        """Keep the last damaged checkpoints, the newest with the episodes that go with no other.

        unsealed: files of episodes; without a damaged checkpoint they belong to none.
        """
        aside = self.path / DAMAGED
        # Missing: a process that was superseded, but does not know it yet, cleans up after itself.
        for file in unsealed:
            with contextlib.suppress(FileNotFoundError):
                file.replace(damaged[0] / file.name) if damaged else file.unlink()
        for folder in damaged:
            aside.mkdir(exist_ok=True)
            shutil.rmtree(aside / folder.name, ignore_errors=True)
            with contextlib.suppress(FileNotFoundError):
                folder.replace(aside / folder.name)
        for folder in _listed(aside)[:-DAMAGED_KEPT]:
            shutil.rmtree(folder, ignore_errors=True)

    def _verify(self, shards: Iterable[Shard]) -> None:
        for shard in shards:
            path, found = self.shard_path(shard), ""
            try:
                with path.open("rb") as stream:
                    found = hashlib.file_digest(stream, "sha256").hexdigest()
            except FileNotFoundError:
                pass
            except OSError as error:
                raise CheckpointError(
                    f"episodes {path}: cannot be read: {error.strerror}"
                ) from error
            if found != shard.sha256:
                raise DamagedError(f"episodes {path}: missing, truncated or changed")

    def _write_shard(self, number: int) -> Shard:
        name = f"episodes-{number:05d}-{self._attempt:04d}.parquet"
        content = episode_table.to_parquet(self._buffer)
        path = self.path / "episodes" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, content)
        rows = sum(len(part) for part in self._buffer)
        return Shard(name, rows, hashlib.sha256(content).hexdigest())


def newest_checkpoint(path: Path) -> Path:
    """Return the newest checkpoint in a trial's folder; any other path is returned as it is."""
    kept = TrialFolder(path)._checkpoints()
    return kept[-1] if kept else path


def _listed(folder: Path) -> list[Path]:
    """Return what is in a folder, by name; nothing where there is no such folder.

    Raises CheckpointError when it cannot be read: `glob` would say that nothing is there.
    """
    try:
        return sorted(folder.iterdir())
    except FileNotFoundError:
        return []
    except OSError as error:
        raise CheckpointError(f"{folder}: cannot be read: {error.strerror}") from error

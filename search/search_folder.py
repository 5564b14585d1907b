"""What one search keeps on disk: its specification, its study, a folder for every job."""

from __future__ import annotations

import itertools
import json
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from search.atomic_file import write_atomically
from search.errors import UserError
from search.masking import MASKED
from search.plain_text import NAME, NAME_RULE, cut

STUDY_URL_VARIABLE = "METASWEEP_STUDY_URL"
UNSENT = "UNSENT"
ENTRY_SECONDS = 10.0
"""Taking a search's lock and noting who did takes no time, unless the process is stopped there."""


@dataclass(frozen=True)
class SearchRecord:
    """`search.json`: all that `resume` needs beside the study.

    spec: the resolved specification.
    elapsed: seconds spent by the drivers so far.
    state: "RUNNING" until all trials have ended, "UNSENT" until the MLflow store holds everything,
        then "COMPLETE".
    token: by which its MLflow run is known from that of another search of the same name.
    Passwords in addresses are masked.
    """

    spec: dict[str, Any]
    run_id: str
    tracking_uri: str
    data: str | None
    elapsed: float = 0.0
    state: str = "RUNNING"
    token: str = ""


class SearchFolder:
    """`<storage>/<name>/`."""

    def __init__(self, storage: Path, name: str):
        """Raise UserError for what can be no search's name, and might lead elsewhere as a path."""
        if not NAME.fullmatch(name):
            raise UserError(f"{cut(name, 100)}: is no name of a search: {NAME_RULE}")
        self.path = storage.expanduser().absolute() / name
        self.name = name
        self._record_file = self.path / "search.json"

    @property
    def exists(self) -> bool:
        """Whether a search of this name was started here."""
        return self._record_file.exists()

    @property
    def trials(self) -> Path:
        """Where jobs keep their folders."""
        return self.path / "trials"

    @property
    def results(self) -> Path:
        """Where leaderboard, best configuration and plots are written."""
        return self.path / "results"

    def study_url(self, given: str | None) -> str:
        """Return the study's database: METASWEEP_STUDY_URL, the one given, or a file in here.

        Raises UserError when the one given had a password, which is kept nowhere.
        """
        url = os.environ.get(STUDY_URL_VARIABLE) or given
        if url and MASKED in url:
            raise UserError(f"study_url: {url}: set {STUDY_URL_VARIABLE} to it, with its password")
        return url or f"sqlite:///{self.path / 'study.db'}"

    def write(self, record: SearchRecord) -> None:
        """Replace the record, in one step."""
        self.path.mkdir(parents=True, exist_ok=True)
        write_atomically(self._record_file, json.dumps(asdict(record), indent=1).encode())

    def read(self) -> SearchRecord:
        """Return the record. Raises UserError when there is no such search."""
        if not self.exists:
            raise UserError(f"{self.name}: no such search in {self.path.parent}{self._others()}")
        try:
            return SearchRecord(**json.loads(self._record_file.read_text()))
        except (ValueError, TypeError) as error:
            raise UserError(f"{self._record_file}: damaged: {error}") from None

    def unfinished(self) -> SearchRecord:
        """Return the record. Raises UserError when there is no such search, or it has ended."""
        record = self.read()
        if record.state == "COMPLETE":
            raise UserError(
                f"{self.name}: has ended; see it with: metasweep leaderboard {self.name}, "
                "or start another with --name"
            )
        return record

    def look(self) -> None:
        """Raise UserError where there is nothing to go on with, without the lock.

        A folder without a record may be that of a search that another driver has just begun.
        """
        if self.exists or not self.path.exists():
            self.unfinished()

    def spent(self, seconds: float, state: str) -> None:
        """Note the time that drivers took, and how the search stands."""
        self.write(replace(self.read(), elapsed=seconds, state=state))

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the search's lock, so that two drivers never work at once.

        Raises UserError that says who holds it.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        holder = self.path / "driver.json"
        lock = FileLock(self.path / "driver.lock")
        try:
            self._take(lock, holder)
            yield
        finally:
            if lock.is_locked:
                holder.unlink(missing_ok=True)
                lock.release()

    def _take(self, lock: FileLock, holder: Path) -> None:
        try:
            # Nobody may look at the name between the two steps: it is that of a driver before.
            with FileLock(self.path / "driver.entry.lock", timeout=ENTRY_SECONDS):
                try:
                    lock.acquire(timeout=0)
                except Timeout:
                    raise self._driven(_text(holder)) from None
                holder.write_text(f"process {os.getpid()} on {socket.gethostname()}")
        except Timeout:
            raise self._driven(None) from None

    def _driven(self, by: str | None) -> UserError:
        return UserError(f"{self.name}: is being driven already, by {by or 'another process'}")

    def _others(self) -> str:
        names = searches_in(self.path.parent)
        return f"; there are: {', '.join(names)}" if names else "; there is none yet"


def _text(file: Path) -> str | None:
    try:
        return file.read_text()
    except FileNotFoundError:
        return None  # Its driver is just ending.


def check_storage(storage: Path) -> None:
    """Raise UserError where there is no storage folder to write to, and none can be made."""
    path = storage.expanduser().absolute()
    there = next(each for each in (path, *path.parents) if each.exists())
    what = "cannot be written to"
    if not there.is_dir():
        what = "is a file"
    elif os.access(there, os.W_OK | os.X_OK):
        return
    raise UserError(
        f"--storage: {storage}: {there} {what}; name another folder with --storage, or "
        "METASWEEP_STORAGE"
    )


def searches_in(storage: Path) -> list[str]:
    """Return the names of the searches in a storage folder."""
    return sorted(file.parent.name for file in storage.expanduser().glob("*/search.json"))


def free_name(storage: Path, wanted: str, recorded: Callable[[str], object]) -> str:
    """Return `wanted`, or the first of `wanted-2`, `wanted-3`, ... that no search has.

    recorded: tells whether the tracking store knows a name; anything but None for yes.
    """
    for number in itertools.count(1):
        name = wanted if number == 1 else f"{wanted}-{number}"
        if not SearchFolder(storage, name).exists and recorded(name) is None:
            return name
    raise AssertionError("itertools.count has no end")

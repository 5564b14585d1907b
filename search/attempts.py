"""Who works on a trial: every process that starts or goes on with it makes an attempt.

A process whose node was given up may still be running, or be woken from a stop minutes later. It
must then find out that its trial went on elsewhere, and neither seal nor send anything any more. A
lock would not do: a process that is stopped holds it for ever.
"""

from __future__ import annotations

import json
import os
import socket
from dataclasses import asdict
from pathlib import Path
from typing import Any

from search.kernel_kills import KernelKills


class SupersededError(RuntimeError):
    """Another process has taken this trial over."""


class Attempts:
    """A folder with one file for every attempt, named by its number.

    Made with an exclusive create, which one process alone succeeds at, on a shared folder, too.
    """

    def __init__(self, folder: Path):
        self._folder = folder

    def newest(self) -> int:
        """Return the number of the newest attempt; 0 before the first."""
        return max(self._numbers(), default=0)

    def claim(self) -> int:
        """Begin an attempt, which supersedes all others; return its number."""
        self._folder.mkdir(parents=True, exist_ok=True)
        number = self.newest() + 1
        while True:
            try:
                os.close(os.open(self._file(number), os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644))
                return number
            except FileExistsError:
                number += 1

    def describe(self, number: int, by: str, begins_at: str) -> None:
        """Note who makes an attempt, for which driver, and at which checkpoint it begins."""
        content: dict[str, Any] = {"by": by, "begins_at": begins_at, "pid": os.getpid()}
        kills = KernelKills.here()
        content |= {"host": socket.gethostname(), "kernel_kills": kills and asdict(kills)}
        self._file(number).write_text(json.dumps(content))

    def in_vain(self, number: int, by: str, begins_at: str) -> int:
        """Count the attempts in a row before this one that the driver saw end where they began."""
        count = 0
        for before in sorted((n for n in self._numbers() if n < number), reverse=True):
            found = self._read(before)
            if (found.get("by"), found.get("begins_at")) != (by, begins_at):
                return count
            count += 1
        return count

    def memory_ran_out(self, number: int, by: str) -> bool:
        """Whether the attempt before this one, of the same driver, seems to have died of memory.

        So it does where the kernel has killed a process of this container or other control group,
        or of this machine where there is none, for lack of memory since it began. Of what happened
        elsewhere nothing is known here.
        """
        before, now = self._read(number - 1), KernelKills.here()
        then = before.get("kernel_kills")
        if before.get("by") != by or now is None or not isinstance(then, dict):
            return False
        if (then.get("boot"), then.get("counter")) != (now.boot, now.counter):
            return False
        return then.get("count", now.count) < now.count

    def check(self, number: int) -> None:
        """Raise SupersededError unless this attempt is still the newest one."""
        newest = self.newest()
        if newest != number:
            found = self._read(newest)
            raise SupersededError(
                f"{self._folder.parent}: taken over by process {found.get('pid')} on "
                f"{found.get('host')}"
            )

    def _file(self, number: int) -> Path:
        return self._folder / f"{number:04d}.json"

    def _numbers(self) -> list[int]:
        try:
            # Unlike `glob`, this tells a folder that cannot be read from one without attempts.
            files = [Path(name) for name in os.listdir(self._folder)]
        except FileNotFoundError:
            return []
        return [int(file.stem) for file in files if file.suffix == ".json" and file.stem.isdigit()]

    def _read(self, number: int) -> dict[str, Any]:
        try:
            found = json.loads(self._file(number).read_text())
        except (OSError, ValueError):
            return {}  # Claimed a moment ago, or the disk was full: nothing rests on it.
        return found if isinstance(found, dict) else {}

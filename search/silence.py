"""How long running jobs have told nothing, and for how long none has run."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

GRACE = 60.0
"""A process that hangs ends itself after the time-out; one that does not even do that is given so
many seconds more."""

PAUSE = 10.0
"""Who asks all the time and did not for so long was stopped itself, and has heard nothing."""

NOTICE = 30.0
"""Seconds. The first process of a machine takes some of them to start."""


class Silence:
    """Tells which jobs have been silent for longer than `seconds` and a grace; None for never."""

    def __init__(self, seconds: float | None, clock: Callable[[], float] = time.monotonic):
        self._seconds = seconds
        self._clock = clock
        self._heard: dict[str, float] = {}
        self._asked = clock()

    def broken(self, name: str) -> None:
        """Take note that a job was heard of."""
        self._heard[name] = self._clock()

    def too_long(self, running: Iterable[str]) -> list[str]:
        """Return which of the running jobs have been silent for too long.

        A job that was not running before counts from now on, and so does one that is returned.
        """
        now = self._clock()
        away, self._asked = now - self._asked, now
        if self._seconds is None:
            return []
        if away > PAUSE:
            self._heard = {name: heard + away for name, heard in self._heard.items()}
        self._heard = {name: self._heard.get(name, now) for name in running}
        late = [name for name, heard in self._heard.items() if now - heard > self._seconds + GRACE]
        for name in late:
            self._heard[name] = now
        return late


class Standstill:
    """Notices, once, that no job has been running for `NOTICE` seconds although some are to."""

    def __init__(self, clock: Callable[[], float] = time.monotonic):
        self._clock = clock
        self._since: float | None = None
        self._noticed = False

    def begins(self, *, waiting: bool, running: bool) -> bool:
        """Return whether a standstill has just lasted long enough to tell of it."""
        if running or not waiting:
            self._since, self._noticed = None, False
            return False
        self._since = self._clock() if self._since is None else self._since
        if self._noticed or self._clock() - self._since < NOTICE:
            return False
        self._noticed = True
        return True

"""A disk that is full: work waits for room, and in the end stops where it can be gone on with."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from search.disk_space import full, is_full
from search.errors import FailedError
from search.jobs import Progress

Value = TypeVar("Value")

log = logging.getLogger("metasweep")


class StillFullError(FailedError):
    """A disk stayed full for as long as a job waits."""


@dataclass(frozen=True)
class Waiting:
    """How long to wait for room on a disk, and how often to look; in seconds."""

    most: float = 600.0
    between: float = 5.0
    sleep: Callable[[float], None] = time.sleep


PATIENT = Waiting()


def patiently(
    write: Callable[[], Value], path: Path, waiting: Waiting
) -> Generator[Progress, None, Value]:
    """Write; while the disk is full, tell so and try again. Return what `write` returns.

    write: leaves everything as it was where it raises.
    Raises StillFullError when there is no room for too long.
    """
    waited = 0.0
    while True:
        try:
            return write()
        except OSError as error:
            if not is_full(error):
                raise
            if waited >= waiting.most:
                raise StillFullError(full(path)) from error
            if not waited:
                log.warning("%s", full(path))
        waiting.sleep(waiting.between)
        waited += waiting.between
        yield Progress("train", 0, reason=f"waits: {full(path)}")

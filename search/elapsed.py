"""Notes the time that a search takes while it takes it, so that a killed driver's counts too."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from search.errors import UserError
from search.search_folder import SearchFolder

NOTED_EVERY = 10.0
"""Seconds of a search that are forgotten at the most when its driver is killed."""


@contextmanager
def noted(folder: SearchFolder, before: float, began: float) -> Iterator[None]:
    """Keep a search's record up to date meanwhile, and once more at the end.

    before: seconds that earlier drivers took. began: when this one did, as time.monotonic() says.
    Raises OSError at the end where the record cannot be written; meanwhile that is left to others.
    """
    over = threading.Event()

    def note() -> None:
        folder.spent(before + time.monotonic() - began, "RUNNING")

    def keep_noting() -> None:
        while not over.wait(NOTED_EVERY):
            with suppress(OSError, UserError):
                note()

    thread = threading.Thread(target=keep_noting, name="elapsed", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        note()

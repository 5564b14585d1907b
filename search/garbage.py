"""Python's garbage collector, and when it is in the way."""

from __future__ import annotations

import atexit
import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def collector_paused(*, for_good: bool = False) -> Iterator[None]:
    """Collect no cycles meanwhile, where many objects are made that all stay.

    Again and again the collector would look through all of them: it takes three quarters of the
    time in which mlflow reads a thousand runs, and an eighth of that in which torch is imported.
    for_good: never look through what was made up to the end of the block, such as what was imported
        in it.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if for_good:
            gc.freeze()
        if was_enabled:
            gc.enable()


def end_without_collecting() -> None:
    """Let this process end without a look through all that is in it, which ends with it anyway.

    That would take as long as importing mlflow.
    """
    atexit.unregister(gc.freeze)
    atexit.register(gc.freeze)

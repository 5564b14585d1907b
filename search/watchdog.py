"""Ends a process that hangs, and leaves word of where it hung."""

from __future__ import annotations

import contextlib
import faulthandler
import os
import re
from pathlib import Path
from types import TracebackType
from typing import IO

FRAME = re.compile(r'File "(?P<file>[^"]+)", line (?P<line>\d+) in (?P<function>\S+)')
THREAD = re.compile(r"^(?:Current thread|Thread) ", re.MULTILINE)


class Watchdog:
    """Blocks that may take so many seconds each; then the process leaves its stacks and exits.

    The standard library's watchdog does the work. It is a thread without Python's lock, which ends
    a process even where an extension module hangs and holds that lock.
    seconds: None for any time.
    file: where the stacks go.
    """

    def __init__(self, seconds: float | None, file: Path):
        self._seconds = seconds
        self._file = file
        self._stream: IO[str] | None = None

    def __enter__(self) -> None:
        if self._seconds is not None:
            self._stream = self._stream or self._opened()
            faulthandler.dump_traceback_later(self._seconds, exit=True, file=self._stream)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._seconds is not None:
            faulthandler.cancel_dump_traceback_later()

    def close(self) -> None:
        """Leave no file but one that holds stacks."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None
            with contextlib.suppress(OSError):
                if not self._file.stat().st_size:
                    self._file.unlink()

    def _opened(self) -> IO[str]:
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            return self._file.open("a")
        except OSError:
            # Where nothing can be written, the process that hangs is ended all the same.
            return open(os.devnull, "a")


def where_it_hung(file: Path) -> str | None:
    """Return where a process hung, from the stacks that a watchdog left; None if it did not."""
    try:
        text = file.read_text()
    except FileNotFoundError:
        return None
    if not text:
        return None
    stacks = [stack for stack in THREAD.split(text) if "run_job.py" in stack]
    frame = FRAME.search(stacks[0] if stacks else text)
    place = f", in {frame['function']} ({frame['file']}, line {frame['line']})" if frame else ""
    return f"{place}; its stacks: {file}"

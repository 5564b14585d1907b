"""Ends a process that hangs, and leaves word of where it hung."""

from __future__ import annotations

import faulthandler
import re
from pathlib import Path
from types import TracebackType

FRAME = re.compile(r'File "(?P<file>[^"]+)", line (?P<line>\d+) in (?P<function>\S+)')
THREAD = re.compile(r"^(?:Current thread|Thread) ", re.MULTILINE)


class Watchdog:
    """A block that may take so many seconds; then the process writes its stacks and exits with 1.

    The standard library's watchdog does the work. It is a thread without Python's lock, which ends
    a process even where an extension module hangs and holds that lock.
    seconds: None for any time.
    file: where the stacks go.
    """

    def __init__(self, seconds: float | None, file: Path):
        self._seconds = seconds
        self._file = file

    def __enter__(self) -> None:
        if self._seconds is not None:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            self._stream = self._file.open("a")
            faulthandler.dump_traceback_later(self._seconds, exit=True, file=self._stream)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._seconds is not None:
            faulthandler.cancel_dump_traceback_later()
            self._stream.close()
            # What a killed process did not come to write cannot be told from a block that ended.
            self._file.unlink(missing_ok=True)


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

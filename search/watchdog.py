"""Ends a process that hangs, and leaves word of where it hung."""

from __future__ import annotations

import contextlib
import faulthandler
import os
import re
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import IO

from search import timekeeper
from search.timekeeper import BEGINS, END, ENDS

FRAME = re.compile(r'File "(?P<file>[^"]+)", line (?P<line>\d+) in (?P<function>\S+)')
THREAD = re.compile(r"^(?:Current thread|Thread) ", re.MULTILINE)


class Watchdog:
    """Blocks that may take so many seconds each; then the process leaves its stacks and exits.

    Time in which the process is stopped does not count, alone or with the whole machine. So a
    process of its own keeps the time, see `search.timekeeper`: a deadline in this one would have
    passed when it goes on, and where an extension module hangs and holds Python's lock, nothing
    here could count. It sends a signal, upon which the standard library's handler, which needs no
    lock, writes the stacks and lets the signal end the process.
    seconds: None for any time.
    file: where the stacks go.
    """

    def __init__(self, seconds: float | None, file: Path):
        self._seconds = seconds
        self._file = file
        self._stream: IO[str] | None = None
        self._timekeeper: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> None:
        # Where no process can be started, the driver's own watch over its jobs remains.
        with contextlib.suppress(OSError):
            if self._seconds is not None and not self._tell(BEGINS):
                self._start(self._seconds)
                self._tell(BEGINS)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if not self._tell(ENDS):
            self._stop()

    def close(self) -> None:
        """Leave no process, and no file but one that holds stacks."""
        self._stop()
        if self._stream is not None:
            faulthandler.unregister(END)
            self._stream.close()
            self._stream = None
            with contextlib.suppress(OSError):
                if not self._file.stat().st_size:
                    self._file.unlink()

    def _tell(self, word: bytes) -> bool:
        """Return whether the timekeeper could be told: it may have been killed, or be stopped."""
        if self._timekeeper is None or self._timekeeper.stdin is None:
            return False
        try:
            os.write(self._timekeeper.stdin.fileno(), word)
        except (BrokenPipeError, BlockingIOError):
            return False
        return True

    def _start(self, seconds: float) -> None:
        self._stop()
        if self._stream is None:
            self._stream = self._opened()
            faulthandler.register(END, file=self._stream, all_threads=True, chain=True)
        own = (str(os.getpid()), str(seconds), str(self._file))
        self._timekeeper = subprocess.Popen(
            [sys.executable, "-I", "-S", timekeeper.__file__, *own],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            bufsize=0,
        )
        assert self._timekeeper.stdin is not None
        os.set_blocking(self._timekeeper.stdin.fileno(), False)

    def _stop(self) -> None:
        if self._timekeeper is not None:
            assert self._timekeeper.stdin is not None
            self._timekeeper.kill()
            self._timekeeper.wait()
            self._timekeeper.stdin.close()
            self._timekeeper = None

    def _opened(self) -> IO[str]:
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            return self._file.open("a")
        except OSError:
            # Where nothing can be written, the process that hangs is ended all the same.
            return open(os.devnull, "a")


def where_it_hung(file: Path) -> str | None:
    """Return where a process hung, from the stacks that a watchdog left; None if it did not.

    Of a process that was killed without a word, that is told instead.
    """
    try:
        text = file.read_text()
    except FileNotFoundError:
        return None
    if not text:
        return None
    if THREAD.search(text) is None:
        return f": {text.strip()}"
    stacks = [stack for stack in THREAD.split(text) if "run_job.py" in stack]
    frame = FRAME.search(stacks[0] if stacks else text)
    place = f", in {frame['function']} ({frame['file']}, line {frame['line']})" if frame else ""
    return f"{place}; its stacks: {file}"

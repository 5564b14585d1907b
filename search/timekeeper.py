"""A process that counts for how long another one could run within one block, and then ends it.

`search.watchdog` starts this file by its path, with the standard library alone.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time

END: int = getattr(signal, "SIGRTMAX", signal.SIGUSR2)
"""The signal upon which a process leaves its stacks and ends: one that nobody else sends."""

BEGINS, ENDS = b"(", b")"
TICKS = 20
LONGEST_TICK = 1.0
LAST_WORDS_SECONDS = 5.0
NO_WORDS = "its process did not answer"


def keep_time(watched: int, seconds: float, file: str) -> None:
    """Read from stdin when blocks begin and end; end the process whose block takes too long.

    Time counts in ticks in which both processes could run: neither one in which the watched one
    was stopped, nor much of one in which this one was.
    watched: the process that started this one, whose end ends this one.
    seconds: that a block may take.
    file: where stacks are left.
    """
    os.set_blocking(0, False)
    tick = min(LONGEST_TICK, seconds / TICKS)
    inside, counted, before = False, 0.0, time.monotonic()
    while os.getppid() == watched:
        time.sleep(tick)
        passed, before = time.monotonic() - before, time.monotonic()
        try:
            said = os.read(0, 1 << 20)
        except BlockingIOError:
            if inside and not _is_stopped(watched):
                counted += min(passed, 2 * tick)
        else:
            if not said:
                return
            inside, counted = said.endswith(BEGINS), 0.0
        if inside and counted >= seconds:
            _end(watched, file)
            return


def _is_stopped(process: int) -> bool:
    """Whether a process is stopped by a signal or a debugger; unknown where there is no /proc."""
    try:
        with open(f"/proc/{process}/stat", "rb") as stat:
            return stat.read().rpartition(b") ")[2][:1] in (b"T", b"t")
    except OSError:
        return False


def _end(process: int, file: str) -> None:
    """Ask for stacks and an end; a process that does not answer is killed."""
    os.kill(process, END)
    deadline = time.monotonic() + LAST_WORDS_SECONDS
    while time.monotonic() < deadline:
        time.sleep(0.05)
        if os.getppid() != process:
            return
    with contextlib.suppress(OSError), open(file, "a") as stream:
        if not stream.tell():
            stream.write(NO_WORDS)
    os.kill(process, signal.SIGKILL)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for those who can end in order.
    keep_time(int(sys.argv[1]), float(sys.argv[2]), sys.argv[3])

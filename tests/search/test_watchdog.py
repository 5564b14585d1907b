from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from search.timekeeper import END, NO_WORDS
from search.watchdog import Watchdog, where_it_hung
from tests.cli import session_members, started, wait_until

HANGS = """
import ctypes, re, sys, time
from pathlib import Path
from search.watchdog import Watchdog

def wait_for_ever():
    {how}

with Watchdog(0.2, Path(sys.argv[1])):
    wait_for_ever()
"""


@pytest.mark.parametrize(
    "how",
    [
        "time.sleep(60)",
        "while True: pass",
        # A library that hangs and never gives Python's lock back.
        "ctypes.PyDLL(None).sleep(60)",
        # An expression that backtracks for longer than anybody waits, and holds it, too.
        "re.compile(r'(a+)+$').match('a' * 60 + 'b')",
    ],
)
def test_a_process_that_hangs_ends_and_says_where(tmp_path: Path, how: str) -> None:
    file = tmp_path / "trial" / "hung.txt"
    script = HANGS.format(how=how)
    done = subprocess.run([sys.executable, "-c", script, str(file)], timeout=50, check=False)
    assert done.returncode == -END
    where = where_it_hung(file)
    assert where is not None
    assert "in wait_for_ever (" in where
    assert str(file) in where


@pytest.mark.parametrize("seconds", [60.0, None])
def test_a_block_that_ends_in_time_leaves_nothing(tmp_path: Path, seconds: float | None) -> None:
    file = tmp_path / "hung.txt"
    watchdog = Watchdog(seconds, file)
    for _ in range(3):
        with watchdog:
            pass
    watchdog.close()
    assert where_it_hung(file) is None
    assert list(tmp_path.iterdir()) == []


def test_time_between_blocks_does_not_count(tmp_path: Path) -> None:
    watchdog = Watchdog(2.0, tmp_path / "hung.txt")
    with watchdog:
        pass
    time.sleep(2.5)
    with watchdog:
        assert ctypes.PyDLL(None).getpid() > 0
    watchdog.close()


def test_a_file_that_a_killed_process_left_empty_says_nothing(tmp_path: Path) -> None:
    (tmp_path / "hung.txt").touch()
    assert where_it_hung(tmp_path / "hung.txt") is None


def test_stacks_outlive_the_process_that_tells_of_them(tmp_path: Path) -> None:
    file = tmp_path / "hung.txt"
    file.write_text("Thread 0x1 (most recent call first):\n")
    watchdog = Watchdog(60.0, file)
    with watchdog:
        assert where_it_hung(file) is not None
    watchdog.close()
    assert file.exists()


def test_where_nothing_can_be_written_a_process_that_hangs_is_ended(tmp_path: Path) -> None:
    (tmp_path / "trial").touch()
    file = tmp_path / "trial" / "hung.txt"
    script = HANGS.format(how="time.sleep(60)")
    done = subprocess.run([sys.executable, "-c", script, str(file)], timeout=50, check=False)
    assert done.returncode == -END


STEPS = """
import sys, time
from pathlib import Path
from search.watchdog import Watchdog

folder = Path(sys.argv[1])

def wait_for_word():
    (folder / "inside").touch()
    while not (folder / "word").exists():
        time.sleep(0.02)

watchdog = Watchdog(4.0, folder / "hung.txt")
with watchdog:
    wait_for_word()
watchdog.close()
"""


@pytest.fixture
def steps(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process within a block that may take 4 seconds and waits for a word."""
    script = (sys.executable, "-c", STEPS)
    with started(str(tmp_path), folder=Path.cwd(), command=script) as process:
        wait_until((tmp_path / "inside").exists, 30, "a block")
        yield process


@pytest.mark.parametrize("everything", [True, False])
def test_time_in_which_a_process_is_stopped_does_not_count(
    tmp_path: Path, steps: subprocess.Popen[str], everything: bool
) -> None:
    """Whether all of its session is stopped, as on a machine that sleeps, or it alone."""
    pause(list(session_members(steps)) if everything else [steps.pid])
    time.sleep(0.5)
    assert steps.poll() is None
    (tmp_path / "word").touch()
    output, _ = steps.communicate(timeout=30)
    assert steps.returncode == 0, output
    assert where_it_hung(tmp_path / "hung.txt") is None


def test_what_hangs_after_it_was_stopped_ends(tmp_path: Path, steps: subprocess.Popen[str]) -> None:
    pause(list(session_members(steps)))
    continued = time.monotonic()
    steps.communicate(timeout=30)
    assert time.monotonic() - continued > 0.5
    where = where_it_hung(tmp_path / "hung.txt")
    assert where is not None
    assert "in wait_for_word (" in where


def pause(pids: list[int], seconds: float = 6.0) -> None:
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    time.sleep(seconds)
    for pid in pids:
        os.kill(pid, signal.SIGCONT)


def test_what_does_not_answer_is_killed(tmp_path: Path) -> None:
    how = "signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals()); time.sleep(60)"
    script = HANGS.format(how=f"import signal; {how}")
    file = tmp_path / "hung.txt"
    done = subprocess.run([sys.executable, "-c", script, str(file)], timeout=50, check=False)
    assert done.returncode == -signal.SIGKILL
    assert file.read_text() == NO_WORDS
    assert where_it_hung(file) == f": {NO_WORDS}"


def test_a_timekeeper_ends_with_its_process(steps: subprocess.Popen[str]) -> None:
    assert len(session_members(steps)) == 2
    steps.kill()
    wait_until(lambda: not session_members(steps), 10, "the end of a timekeeper")


def test_a_timekeeper_that_was_killed_is_replaced(tmp_path: Path) -> None:
    file = tmp_path / "hung.txt"
    done = subprocess.run([sys.executable, "-c", REPLACED, str(file)], timeout=50, check=False)
    assert done.returncode == -END
    assert where_it_hung(file) is not None


REPLACED = """
import os, signal, sys, time
from pathlib import Path
from search.watchdog import Watchdog

watchdog = Watchdog(0.2, Path(sys.argv[1]))
with watchdog:
    pass
killed = watchdog._timekeeper.pid
os.kill(killed, signal.SIGKILL)
os.waitid(os.P_PID, killed, os.WEXITED | os.WNOWAIT)
with watchdog:
    time.sleep(60)
"""

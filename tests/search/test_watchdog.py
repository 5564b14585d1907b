from __future__ import annotations

import ctypes
import subprocess
import sys
import time
from pathlib import Path

import pytest

from search.watchdog import Watchdog, where_it_hung

HANGS = """
import ctypes, sys, time
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
    ],
)
def test_a_process_that_hangs_ends_and_says_where(tmp_path: Path, how: str) -> None:
    file = tmp_path / "trial" / "hung.txt"
    script = HANGS.format(how=how)
    done = subprocess.run([sys.executable, "-c", script, str(file)], timeout=50, check=False)
    assert done.returncode == 1
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
    watchdog = Watchdog(0.2, tmp_path / "hung.txt")
    with watchdog:
        pass
    time.sleep(0.4)
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
    assert done.returncode == 1

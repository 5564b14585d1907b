"""Jobs on a disk that is full."""

from __future__ import annotations

import errno
from pathlib import Path

import pandas as pd
import pytest

from search import atomic_file, checkpoint, trial_folder
from search.disk import Waiting
from tests.search.running_jobs import start, table


class FullDisk:
    """Lets a write fail for some time, as a full disk does."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, first: int, failures: int) -> None:
        self.calls, self.slept = 0, 0.0
        self.failing = range(first, first + failures)
        self.write = atomic_file.write_atomically
        for module in (checkpoint, trial_folder):
            monkeypatch.setattr(module, "write_atomically", self)

    def __call__(self, path: Path, content: bytes) -> None:
        self.calls += 1
        if self.calls - 1 in self.failing:
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        self.write(path, content)

    def sleep(self, seconds: float) -> None:
        self.slept += seconds


@pytest.mark.parametrize("first", range(9), ids="write-{}".format)
def test_a_full_disk_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: int
) -> None:
    """Each seal writes three files; whichever of them fails, nothing is lost or doubled."""
    list(start(tmp_path / "whole"))
    disk = FullDisk(monkeypatch, first, failures=3)
    told = list(start(tmp_path / "parts", waiting=Waiting(60, 5, disk.sleep)))
    assert told[-1].phase == "final"
    assert disk.slept == 15
    assert sum(p.reason.startswith("waits: ") for p in told) == 3
    pd.testing.assert_frame_equal(table(tmp_path / "parts"), table(tmp_path / "whole"))


def test_a_disk_that_stays_full_blocks_the_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        disk = FullDisk(patch, first=3, failures=1000)
        *_, last = start(tmp_path, waiting=Waiting(60, 5, disk.sleep))
    assert last.phase == "blocked"
    assert f"{tmp_path}: no space left there" in last.reason
    assert set(table(tmp_path)["split"]) == {"train", "rung"}
    *_, again = start(tmp_path)
    assert again.phase == "final"

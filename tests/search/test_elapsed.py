"""The time that a search takes is on disk while it takes it."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from search import elapsed
from search.search_folder import SearchFolder, SearchRecord


@pytest.fixture
def folder(tmp_path: Path) -> SearchFolder:
    folder = SearchFolder(tmp_path, "mine")
    folder.write(SearchRecord({}, "run", "sqlite:///mlflow.db", None, elapsed=100.0))
    return folder


def test_a_killed_driver_leaves_the_time_that_it_took(
    folder: SearchFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(elapsed, "NOTED_EVERY", 0.01)
    with elapsed.noted(folder, 100.0, began=time.monotonic() - 5.0):
        while folder.read().elapsed < 105.0:
            time.sleep(0.01)
        assert folder.read().state == "RUNNING"


def test_the_end_is_noted_to_the_second(folder: SearchFolder) -> None:
    began = time.monotonic() - 5.0
    with elapsed.noted(folder, 100.0, began):
        assert folder.read().elapsed == 100.0
    assert 105.0 <= folder.read().elapsed <= 100.0 + time.monotonic() - began


def test_what_cannot_be_noted_meanwhile_is_told_at_the_end(
    folder: SearchFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = []

    def full(seconds: float, state: str) -> None:
        tried.append(seconds)
        raise OSError(28, "No space left on device")

    def search() -> None:
        with elapsed.noted(folder, 0.0, time.monotonic()):
            while len(tried) < 3:
                time.sleep(0.01)

    monkeypatch.setattr(elapsed, "NOTED_EVERY", 0.01)
    monkeypatch.setattr(folder, "spent", full)
    with pytest.raises(OSError, match="No space"):
        search()

from __future__ import annotations

import itertools
import multiprocessing
import time
from multiprocessing.queues import SimpleQueue
from pathlib import Path

import pytest

from search.tracking_client import one_writer

Times = SimpleQueue


@pytest.mark.parametrize("uri", ["http://host", "postgresql://host/db", "sqlite://", "file:///a"])
def test_other_stores_need_no_turns(uri: str, tmp_path: Path) -> None:
    with one_writer(uri), one_writer(uri):
        pass


def test_writers_of_a_tracking_sqlite_wait_for_each_other(tmp_path: Path) -> None:
    """Each process writes in several turns, none of which overlaps with another's."""
    context = multiprocessing.get_context("spawn")
    turns: Times = context.SimpleQueue()
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}?timeout=5"
    writers = [context.Process(target=_write, args=(uri, turns)) for _ in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(300)
        assert writer.exitcode == 0
    spans = sorted(turns.get() for _ in range(9))
    assert all(end <= begin for (_, end), (begin, _) in itertools.pairwise(spans))
    assert [file.name for file in tmp_path.iterdir()] == ["mlflow.db.lock"]


def _write(uri: str, turns: Times) -> None:
    for _ in range(3):
        with one_writer(uri):
            began = time.monotonic()
            time.sleep(0.05)
            turns.put((began, time.monotonic()))

"""Ray on one machine: it runs what it is given, with no process beside that nobody needs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import ray
from ray._private.node import Node

from search import ray_cluster
from search.ray_alone import UNNEEDED, few_processes

FILES = ("dashboard.py", "monitor.py", "log_monitor.py")


def programs() -> set[str]:
    """The names of the programs, and of Python's files, that Ray's session has started."""
    session = ray._private.worker._global_node.get_session_dir_path()
    found = set()
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = file.read_bytes().decode().split("\0")
        except OSError:
            continue  # It has just ended.
        if any(session in word for word in words):
            found |= {Path(word).name for word in words if word == words[0] or word.endswith(".py")}
    return found


def test_neither_dashboard_nor_autoscaler_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in ray_cluster.SETTINGS.items():
        monkeypatch.setenv(name, os.environ.get(name, value))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr("signal.signal", lambda number, handler: None)
    ray_cluster.start_ray()
    try:
        assert ray.get(ray.remote(lambda: 6 * 7).remote()) == 42
        assert {"gcs_server", "raylet"} <= programs()
        assert programs().isdisjoint(FILES)
    finally:
        ray_cluster.stop_ray()


def test_what_ray_has_is_there_again_afterwards() -> None:
    before = [getattr(Node, name) for name in UNNEEDED]
    with few_processes():
        assert all(getattr(Node, name) not in before for name in UNNEEDED)
    assert [getattr(Node, name) for name in UNNEEDED] == before

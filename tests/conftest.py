"""Fixtures that several folders of tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from tests.servers import postgres_binaries

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The folder of real data that METASWEEP_DATA names."""
    folder = Path(os.environ.get("METASWEEP_DATA", "~/.cache/metasweep")).expanduser().resolve()
    if not (folder / "omniglot").is_dir():
        reason = f"no real data in {folder}: set METASWEEP_DATA"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return folder


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Say what runs in one process when there are several: the tests of a file, which share things.

    Faults, which take long and share nothing, go one by one. What starts clusters stays together:
    of two that start at once on one machine, one may find its ports taken.
    """
    for item in items:
        if item.get_closest_marker("ray_start"):
            group = "ray_start"
        elif item.path.name == "test_faults.py":
            group = item.nodeid
        else:
            group = str(item.path)
        item.add_marker(pytest.mark.xdist_group(group))


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what is marked `cluster` where no PostgreSQL is installed; in CI that is a failure."""
    if item.get_closest_marker("cluster") and postgres_binaries() is None:
        reason = "no PostgreSQL server: install Debian's package postgresql"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)

"""Fixtures that several folders of tests share."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.servers import postgres_binaries
from tests.several import Together, rank, too_late

torch.set_num_threads(1)
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A background job of a shell ignores Ctrl-C, and so would every command that tests start.
    signal.signal(signal.SIGINT, signal.default_int_handler)
if not torch.cuda.is_available():
    # Triton, when it is first imported, decides whether to interpret its kernels.
    os.environ["TRITON_INTERPRET"] = "1"


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
    """Begin with what takes long."""
    items.sort(key=lambda item: rank(item.nodeid))


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Together:
    """Hand out tests to several processes, where there are several."""
    return Together(config, log)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what is marked `cluster` where no PostgreSQL is installed; in CI that is a failure.

    What takes long is not begun where the time that CI has would not be enough for it.
    """
    if any(item.get_closest_marker(name) for name in ("faults", "exhaustive")) and too_late():
        pytest.skip("no time is left to begin it")
    if item.get_closest_marker("cluster") and postgres_binaries() is None:
        reason = "no PostgreSQL server: install Debian's package postgresql"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)

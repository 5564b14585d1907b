"""Ray on this machine alone, without the processes that only a cluster needs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ray._private.node import Node

UNNEEDED = ("start_api_server", "start_monitor", "start_log_monitor")
"""The dashboard, the autoscaler, and what would send the workers' output to the driver. Ray (2.60)
starts each in a Python process of its own, and waits for the first."""


@contextmanager
def few_processes() -> Iterator[None]:
    """Let `ray.init` start what trials need, and no more."""
    as_ray_does = {name: getattr(Node, name) for name in UNNEEDED if hasattr(Node, name)}
    for name in as_ray_does:
        setattr(Node, name, _start_nothing)
    try:
        yield
    finally:
        for name, starts in as_ray_does.items():
            setattr(Node, name, starts)


def _start_nothing(node: Any, **_: Any) -> None:
    pass

"""Those who compute the meta-gradients of a workload: one file each, imported only when built."""

from __future__ import annotations

import importlib
from collections.abc import Callable

from benchmarks.contenders.contender import Contender, NotOfferedError, Options
from benchmarks.workloads import Workload

__all__ = ["CONTENDERS", "LABELS", "Contender", "NotOfferedError", "Options", "load"]

CONTENDERS: dict[str, str] = {
    "plain_loop": "plain_loop:build",
    "ours": "ours:eager",
    "ours_compiled": "ours:compiled",
    "ours_captured": "ours:captured",
    "learn2learn": "with_learn2learn:build",
    "higher": "with_higher:build",
    "torchopt": "with_torchopt:build",
    "jax": "with_jax:build",
}
"""By name: the file here, and the function in it that builds the contender."""

LABELS = {
    "plain_loop": "plain loop",
    "ours": "ours, eager",
    "ours_compiled": "ours, compiled",
    "ours_captured": "ours, captured",
    "jax": "JAX, jit and vmap",
}


def load(name: str) -> Callable[[Workload, Options], Contender]:
    """Return the function that builds a contender. Raises ImportError where it is missing."""
    module, _, function = CONTENDERS[name].partition(":")
    return getattr(importlib.import_module(f"benchmarks.contenders.{module}"), function)

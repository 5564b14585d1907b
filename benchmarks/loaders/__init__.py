"""Those who draw meta-batches of few-shot episodes: one file a library, imported when built."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path

from benchmarks.loaders.work import WORKS, Source, Work

__all__ = ["LABELS", "LOADERS", "OURS", "WORKS", "Source", "Work", "load"]

LOADERS: dict[str, str] = {
    "ours": "ours:sampled",
    "ours_loader": "ours:loaded",
    "torchmeta": "with_torchmeta:shipped",
    "torchmeta_memory": "with_torchmeta:memory",
    "learn2learn": "with_learn2learn:shipped",
    "learn2learn_memory": "with_learn2learn:memory",
}
"""By name: the file here, and the function in it that makes a source of batches."""

LABELS = {
    "ours": "ours, sample",
    "ours_loader": "ours, EpisodeLoader",
    "torchmeta": "Torchmeta, 4 workers",
    "torchmeta_memory": "Torchmeta, 4 workers, tensors in memory",
    "learn2learn": "learn2learn",
    "learn2learn_memory": "learn2learn, tensors in memory",
}

OURS = "ours"
"""Whose rate is compared with everybody's."""


def load(name: str) -> Callable[[Work, Path], Source]:
    """Return the function that makes a source. Raises ImportError where a library is missing."""
    module, _, function = LOADERS[name].partition(":")
    return getattr(importlib.import_module(f"benchmarks.loaders.{module}"), function)

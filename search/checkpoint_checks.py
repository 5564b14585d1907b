"""Checks that a checkpoint from anywhere fits the configuration that it names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from episodes.episode import TaskDistribution
from search.building import build, hyperparameters
from search.checkpoint import Checkpoint, CheckpointError
from search.config import MOST_EPISODES, Config
from search.config_file import complete_config
from search.formulation_checks import check_formulation
from search.plain_text import cut, visible
from search.snapshot import Snapshot
from search.training import META, STATE

Shape = tuple[int, ...]
NAMES_SHOWN = 3


def checked_config(path: Path, found: Checkpoint) -> Config:
    """Return a checkpoint's configuration, of which every value is legal. Raises UserError."""
    return complete_config(path, found.config.to_dict())


def learned(
    path: Path, config: Config, distribution: TaskDistribution, snapshot: Snapshot
) -> Snapshot:
    """Return what of a snapshot is needed to adapt: what was learned, without the optimizer.

    Raises CheckpointError where its state or its tensors are not those of the configuration.
    """
    _check_state(path, snapshot.state)
    expected = _expected(config, distribution)
    tensors = {
        name: value for name, value in snapshot.tensors.items() if name.startswith((META, STATE))
    }
    missing, strange = expected.keys() - tensors.keys(), tensors.keys() - expected.keys()
    if missing or strange:
        which = _names(missing or strange)
        what = f"lacks {which}" if missing else f"holds {which}, which nothing reads"
        raise CheckpointError(f"checkpoint {path}: {what}; {_origin(config)}")
    for name, (shape, dtype) in expected.items():
        value = tensors[name]
        if tuple(value.shape) != shape or value.dtype != dtype:
            raise CheckpointError(
                f"checkpoint {path}: {name} is {tuple(value.shape)} {value.dtype}, and must be "
                f"{shape} {dtype}; {_origin(config)}"
            )
    return Snapshot(tensors, snapshot.state)


def _check_state(path: Path, state: dict[str, Any]) -> None:
    episodes, seconds = state.get("episodes"), state.get("train_seconds")
    if type(episodes) is not int or not 0 <= episodes <= MOST_EPISODES:
        raise CheckpointError(f"checkpoint {path}: state.episodes: {episodes!r:.60}: is no number")
    if not isinstance(seconds, int | float) or not 0 <= seconds < 1e300:
        raise CheckpointError(
            f"checkpoint {path}: state.train_seconds: {seconds!r:.60}: is no time"
        )
    if not isinstance(state.get("history"), list):
        raise CheckpointError(f"checkpoint {path}: state.history: is no list")
    smaller = state.get("smaller", 1)
    if type(smaller) is not int or smaller < 1:
        raise CheckpointError(f"checkpoint {path}: state.smaller: {smaller!r:.60}: is no number")
    formulation = state.get("formulation")
    if not isinstance(formulation, dict):
        raise CheckpointError(f"checkpoint {path}: state.formulation: is no mapping")
    check_formulation(f"checkpoint {path}: state.", formulation)


def _expected(
    config: Config, distribution: TaskDistribution
) -> dict[str, tuple[Shape, torch.dtype]]:
    """Return the shape and type of everything that the configuration learns, by tensor name."""
    algorithm, _ = build(config, distribution)
    hyper = hyperparameters(config, torch.device("cpu"))
    meta, state = algorithm.init(hyper, torch.Generator().manual_seed(config.seed))
    named = {META + name: value for name, value in meta.items()}
    named |= {STATE + name: value for name, value in state.items()}
    replicas = (config.seeds,) if config.seeds > 1 else ()
    return {name: ((*replicas, *value.shape), value.dtype) for name, value in named.items()}


def _names(names: set[str]) -> str:
    more = len(names) - NAMES_SHOWN
    shown = ", ".join(cut(visible(name), 60) for name in sorted(names)[:NAMES_SHOWN])
    return shown + (f" and {more} more" if more > 0 else "")


def _origin(config: Config) -> str:
    return f"it was not made by {config.algorithm} on {config.network} as it says"

"""What becomes of a simulated trial. Imports numpy alone, for small processes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

EPISODES, REDUCTION = 9000, 3
RUNGS = (EPISODES // REDUCTION**2, EPISODES // REDUCTION)
SIMULATED = "as simulated"


class Fate(NamedTuple):
    """How a trial ends: final, diverged or failed, after which part of it, and how well it does.

    luck: what its metric has of it, whatever it trains with.
    """

    phase: Any
    part: float
    luck: float


def fate(number: int, seed: int) -> Fate:
    """Draw what becomes of a trial; four in a hundred end badly."""
    rng = np.random.default_rng([seed, number])
    phase = str(rng.choice(["final", "diverged", "failed"], p=[0.96, 0.02, 0.02]))
    return Fate(phase, 1.0 if phase == "final" else rng.uniform(0.1, 1.0), 0.1 * rng.random())


def metric(outer_lr: float, luck: float, episodes: int) -> float:
    """Return the metric after so many episodes: it falls to a floor that outer_lr decides."""
    floor = abs(np.log10(outer_lr) + 2.5) + luck
    return float(floor + EPISODES / episodes / 10)


def words(
    number: int, outer_lr: float, seed: int, rungs: Sequence[int] = RUNGS
) -> list[dict[str, Any]]:
    """Return what a trial tells, if it tells nothing between rungs, as fields of a `Progress`."""
    phase, part, luck = fate(number, seed)
    found: list[dict[str, Any]] = []
    history: list[dict[str, float]] = []
    for episodes in (*rungs, EPISODES):
        told: dict[str, Any] = {"episodes": episodes, "history": history}
        if phase != "final" and part * EPISODES <= episodes:
            return [*found, told | {"phase": phase, "episodes": episodes - 1, "reason": SIMULATED}]
        value = metric(outer_lr, luck, episodes)
        history = [*history, {"episodes": episodes, "value": value}]
        name = "final" if episodes == EPISODES else "rung"
        found.append(told | {"phase": name, "value": value, "history": history})
    return found


def plain_words(number: int, reports: int) -> list[dict[str, Any]]:
    """Return so many reports of a trial that is complete with the last of them."""
    value = 1.0 + number / 1000
    end = {"phase": "final", "value": value, "history": [{"episodes": 100, "value": value}]}
    return [
        {"phase": "train", "episodes": 100} | (end if left == 0 else {})
        for left in reversed(range(reports))
    ]

"""Trials without Optuna, and the recipe that a sample describes."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from algorithms.recipe import CHOICES, Recipe
from spaces.parameter import Value


@dataclass
class Random:
    """A trial that draws evenly and notes what it is asked."""

    rng: random.Random
    params: dict[str, Any] = field(default_factory=dict)

    def suggest_float(self, name: str, low: float, high: float, *, log: bool) -> float:
        return self._note(name, self.rng.uniform(low, high))

    def suggest_int(self, name: str, low: int, high: int, *, log: bool) -> int:
        return self._note(name, self.rng.randint(low, high))

    def suggest_categorical(self, name: str, choices: tuple[Any, ...]) -> Any:
        return self._note(name, self.rng.choice(choices))

    def _note(self, name: str, value: Any) -> Any:
        assert name not in self.params
        self.params[name] = value
        return value


def recipe_of(hyper: Mapping[str, Value]) -> Recipe:
    return Recipe(**{name: hyper[name] for name in CHOICES})  # type: ignore[arg-type]

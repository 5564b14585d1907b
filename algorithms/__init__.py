"""How to learn: one file an algorithm, as records of pure functions."""

from __future__ import annotations

from algorithms.algorithm import Adapted, Algorithm, Diagnostics, Hyper, Objective
from algorithms.errors import RecipeError
from algorithms.registry import ALGORITHMS, Entry, make

__all__ = [
    "ALGORITHMS",
    "Adapted",
    "Algorithm",
    "Diagnostics",
    "Entry",
    "Hyper",
    "Objective",
    "RecipeError",
    "make",
]

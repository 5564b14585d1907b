"""What can be wrong about an algorithm, or about how it is run."""

from __future__ import annotations


class RecipeError(ValueError):
    """Parts that do not fit together, or do not fit the network; the message names them."""


class PreparationError(RuntimeError):
    """A batch can't be run in the way that was prepared for it; the message says why."""

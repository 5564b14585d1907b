"""What a user can get wrong about an algorithm."""

from __future__ import annotations


class RecipeError(ValueError):
    """Parts that do not fit together, or do not fit the network; the message names them."""

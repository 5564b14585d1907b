"""The composed algorithm: every part is a choice, for a search to make."""

from __future__ import annotations

from algorithms.algorithm import Algorithm, Objective
from algorithms.compose import compose
from algorithms.recipe import Recipe
from networks.network import Network


def composed(network: Network, objective: Objective, **parts: str | bool) -> Algorithm:
    """Build the algorithm that `parts` describe; those left out are MAML's.

    parts: fields of `algorithms.recipe.Recipe`, which says what they mean. For hyperparameters see
    `algorithms.compose.compose`. Raises RecipeError for parts that do not fit together.
    """
    return compose("composed", network, objective, Recipe(**parts))  # type: ignore[arg-type]

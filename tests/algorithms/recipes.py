"""Recipes that differ in one part from MAML's, and a sample of all combinations."""

from __future__ import annotations

import random
from dataclasses import replace

from algorithms.recipe import CHOICES, Recipe, conflicts

SAMPLE = 60


def single_parts() -> list[Recipe]:
    """List MAML's recipe and those that differ in one part, and what it cannot do without."""
    found = []
    for name, options in CHOICES.items():
        for option in options:
            recipe = replace(Recipe(), **{name: option})
            if name == "rate" and option != "one":
                recipe = replace(recipe, rate_learned=True)
            if option == "implicit":
                recipe = replace(recipe, proximal=True)
            found.append(recipe)
    return list(dict.fromkeys([*found, Recipe(adapts="*2,head")]))


def sampled(count: int, seed: int = 1) -> list[Recipe]:
    """Draw valid recipes, with every kind of meta-gradient in turn."""
    rng, found = random.Random(seed), []
    options = CHOICES | {"adapts": (*CHOICES["adapts"], "*1,head", "*2")}
    while len(found) < count:
        drawn = {name: rng.choice(values) for name, values in options.items()}
        kinds = CHOICES["meta_gradient"]
        recipe = Recipe(**drawn | {"meta_gradient": kinds[len(found) % len(kinds)]})
        stuck = recipe.head == "zeroed" and recipe.adapts == "*2"
        if not stuck and not conflicts(recipe):
            found.append(recipe)
    return found


def label(recipe: Recipe) -> str:
    default = Recipe().parts()
    parts = recipe.parts().items()
    return " ".join(f"{k}={v}" for k, v in parts if v != default[k]) or "default"

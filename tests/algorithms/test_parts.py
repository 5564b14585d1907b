"""Every value of every part, and a sample of their combinations, against a plain loop."""

from __future__ import annotations

import pytest
import torch

from algorithms import RecipeError
from algorithms.compose import compose
from algorithms.parts.inner_optimizers import INNER_OPTIMIZERS
from algorithms.recipe import CHOICES, Recipe
from tests.algorithms.cases import SETTINGS, Setting, compute, values_for
from tests.algorithms.problems import (
    hyperparameters,
    keys_of,
    regression_episodes,
    regression_objective,
    relative_error,
    small_mlp,
    vector,
)
from tests.algorithms.recipes import SAMPLE, label, sampled, single_parts
from tests.algorithms.reference.composed import composed

TOLERANCE = 1e-9


def check(recipe: Recipe, on: Setting, chunk: int | None = None, **hyper: float) -> None:
    algorithm = compose("parts", on.network, on.objective, recipe)
    found = compute(algorithm, on, hyperparameters(**hyper), chunk)
    gradients, state = composed(found.run, recipe.parts())
    assert relative_error(found.gradients, gradients) <= TOLERANCE
    assert found.state.keys() == state.keys()
    if state:
        assert relative_error(found.state, state) <= TOLERANCE


@pytest.mark.parametrize("setting", ["mlp", "vectors", "pool-batch", "pool-batch-transductive"])
@pytest.mark.parametrize("recipe", single_parts(), ids=label)
def test_each_part_alone(recipe: Recipe, setting: str) -> None:
    on = SETTINGS[setting]()
    if recipe.head == "prototypes" and on.objective.ways is None:
        with pytest.raises(RecipeError, match="head: 'prototypes'"):
            compose("parts", on.network, on.objective, recipe)
    else:
        check(recipe, on, inner_steps=3)


MIXED = ("vectors", "pool-batch", "pool-batch-transductive", "residual", "pool-group", "pool-none")


@pytest.mark.parametrize(
    ("position", "recipe"),
    [
        pytest.param(i, recipe, id=f"{i} {label(recipe)}")
        for i, recipe in enumerate(sampled(SAMPLE))
    ],
)
def test_a_sample_of_combinations(position: int, recipe: Recipe) -> None:
    on = SETTINGS[MIXED[position % len(MIXED)]]()
    check(recipe, on, inner_steps=2 + position % 2, progress=(0.3, 0.6)[position // 6 % 2])
    check(recipe, on, chunk=2)


@pytest.mark.parametrize("progress", [0.49, 0.5])
@pytest.mark.parametrize("optimizer", CHOICES["inner_optimizer"])
def test_annealed_optimizers(optimizer: str, progress: float) -> None:
    recipe = Recipe(inner_optimizer=str(optimizer), meta_gradient="annealed", proximal=True)
    check(recipe, SETTINGS["mlp"](), inner_steps=3, progress=progress)


def test_the_sample_reaches_every_choice() -> None:
    recipes = sampled(SAMPLE)
    for name, options in CHOICES.items():
        assert {getattr(recipe, name) for recipe in recipes} >= set(options)


@pytest.mark.parametrize("optimizer", INNER_OPTIMIZERS)
def test_derivatives_at_a_gradient_of_zero_are_finite(optimizer: str) -> None:
    kind, hyper = INNER_OPTIMIZERS[optimizer], hyperparameters()
    gradient = torch.zeros(2, 3, dtype=torch.float64, requires_grad=True)
    slots = {name: torch.zeros_like(gradient) for name in kind.slots}
    total = torch.zeros((), dtype=torch.float64)
    for step in range(3):
        direction, slots = kind.update(gradient, slots, hyper, step)
        total = total + direction.sum()
    (first,) = torch.autograd.grad(total, gradient, create_graph=True)
    assert first.isfinite().all()
    if first.requires_grad:
        assert torch.autograd.grad(first.sum(), gradient)[0].isfinite().all()


@pytest.mark.parametrize("optimizer", INNER_OPTIMIZERS)
def test_dead_units_leave_meta_gradients_finite(optimizer: str) -> None:
    network, episodes = small_mlp("relu"), regression_episodes(3)
    recipe = Recipe(inner_optimizer=optimizer)
    algorithm, hyper = compose("dead", network, regression_objective(), recipe), hyperparameters()
    meta, state = values_for(algorithm, hyper)
    meta["layer1.bias"][:3] = -100.0
    gradients = algorithm.meta_gradients(meta, state, hyper, episodes, keys_of(episodes))[0]
    assert vector(gradients).isfinite().all()
    assert not gradients["layer1.weight"][:3].any()
    assert gradients["layer1.weight"][3:].any()


def test_a_single_step_of_every_optimizer() -> None:
    """By hand: momentum starts as the gradient, Adam's corrected averages are of one gradient."""
    gradient, hyper = torch.tensor([[3.0, -4.0]], dtype=torch.float64), hyperparameters()
    expected = {
        "sgd": gradient,
        "momentum": gradient,
        "rmsprop": gradient.sign() / 0.2**0.5,
        "adam": gradient.sign(),
    }
    for name, kind in INNER_OPTIMIZERS.items():
        slots = {slot: torch.zeros_like(gradient) for slot in kind.slots}
        direction, _ = kind.update(gradient, slots, hyper, 0)
        torch.testing.assert_close(direction, expected[name], rtol=1e-8, atol=0)

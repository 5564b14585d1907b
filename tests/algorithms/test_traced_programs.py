"""The graphs of which programs are compiled, run by torch: what Inductor is given.

Against the plain loops, for every algorithm and every part that the engine may compile.
"""

from __future__ import annotations

import pytest
import torch

from algorithms import ALGORITHMS, Algorithm, Hyper, make
from algorithms.arguments import Arguments
from algorithms.compose import compose
from algorithms.parts.axis import stacked
from algorithms.programs import traced
from algorithms.recipe import Recipe
from algorithms.replicas import direct
from networks import Params
from tests.algorithms.cases import SETTINGS, Setting, regression, values_for, vectors
from tests.algorithms.problems import SEED, hyperparameters, keys_of, relative_error
from tests.algorithms.recipes import SAMPLE, label, sampled, single_parts
from tests.algorithms.reference.composed import composed
from tests.algorithms.reference.run import Run
from tests.algorithms.reference.table import REFERENCES

TOLERANCE = 1e-9
VECTORS = "mlp", "vectors"
"""What the engine compiles, without and with classes: networks on vectors."""


def pairs() -> list[tuple[str, str]]:
    """List (algorithm, setting); pretraining has a formula of its own for each kind of problem."""
    found = [(name, VECTORS[entry.classes]) for name, entry in ALGORITHMS.items()]
    return [*found, ("pretrain", "vectors")]


def run_traced(algorithm: Algorithm, on: Setting, hyper: Hyper) -> tuple[Run, Params, Params]:
    """Return what a reference can be given, and the meta-gradients and state of the graph."""
    meta, state = values_for(algorithm, hyper)
    arguments = Arguments(meta, state, hyper, on.episodes, keys_of(on.episodes))
    graph, names = traced(algorithm, arguments, None)
    with torch.no_grad():
        flat = iter(graph(*arguments.tensors()))
    gradients, after, _ = ({key: next(flat) for key in each} for each in names)
    return Run(on.case, meta, state, hyper, on.episodes, SEED), gradients, after


def check(expected: tuple[Params, Params], gradients: Params, state: Params) -> None:
    assert relative_error(gradients, expected[0]) <= TOLERANCE
    assert state.keys() == expected[1].keys()
    if state:
        assert relative_error(state, expected[1]) <= TOLERANCE


@pytest.mark.parametrize("steps", [1, 5])
@pytest.mark.parametrize(("name", "setting"), pairs())
def test_a_traced_graph_is_the_plain_loop(name: str, setting: str, steps: int) -> None:
    on = SETTINGS[setting]()
    algorithm = make(name, on.network, on.objective, {})
    run, *found = run_traced(algorithm, on, hyperparameters(inner_steps=steps))
    check(REFERENCES[name].gradients(run), *found)


@pytest.mark.exhaustive
@pytest.mark.parametrize(("name", "setting"), pairs())
def test_so_it_is_with_layer_normalization(name: str, setting: str) -> None:
    on = {"mlp": regression, "vectors": vectors}[setting]("layer")
    algorithm = make(name, on.network, on.objective, {})
    run, *found = run_traced(algorithm, on, hyperparameters(inner_steps=2))
    check(REFERENCES[name].gradients(run), *found)


def check_parts(recipe: Recipe, on: Setting, **hyper: float) -> None:
    algorithm = compose("parts", on.network, on.objective, recipe)
    run, *found = run_traced(algorithm, on, hyperparameters(**hyper))
    check(composed(run, recipe.parts()), *found)


@pytest.mark.parametrize("recipe", single_parts(), ids=label)
def test_so_it_is_with_each_part(recipe: Recipe) -> None:
    check_parts(recipe, SETTINGS[VECTORS[recipe.head == "prototypes"]](), inner_steps=2)


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    ("position", "recipe"),
    [
        pytest.param(i, recipe, id=f"{i} {label(recipe)}")
        for i, recipe in enumerate(sampled(SAMPLE // 2, seed=2))
    ],
)
def test_so_it_is_with_a_sample_of_combinations(position: int, recipe: Recipe) -> None:
    on = vectors("layer" if position % 3 == 0 else "none")
    steps, progress = 1 + position % 2, (0.3, 0.6)[position // 6 % 2]
    check_parts(recipe, on, inner_steps=steps, progress=progress)


@pytest.mark.parametrize(("name", "setting"), pairs())
def test_a_traced_graph_of_replicas_is_that_of_each(name: str, setting: str) -> None:
    on, hyper = SETTINGS[setting](), hyperparameters(inner_steps=2)
    algorithm = make(name, on.network, on.objective, {})
    episodes, keys = on.episodes[:2], keys_of(on.episodes)[:2]
    drawn = [algorithm.init(hyper, torch.Generator().manual_seed(seed)) for seed in (1, 2)]
    meta = {k: v.double() for k, v in stacked([meta for meta, _ in drawn]).items()}
    state = {k: v.double() for k, v in stacked([state for _, state in drawn]).items()}
    arguments = Arguments(meta, state, hyper, episodes, keys)
    graph, _ = traced(algorithm, arguments, 2)
    with torch.no_grad():
        found = graph(*arguments.tensors())
    results = direct(algorithm, meta, state, hyper, episodes, keys, 2)
    expected = [each[key] for each in results for key in each]
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-12)

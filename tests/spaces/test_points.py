"""Named recipes start `composed` with the values of their papers, or it is said what moved them."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from algorithms import ALGORITHMS
from search import dry_run
from search.spec import Spec, load_spec, parse_spec
from search.spec_source import read_source, ready_made_names
from spaces.algorithms import ALGORITHM_SPACES, COMPOSED
from spaces.parameter import Choice, Fixed, Float, Int, Parameter, Value
from spaces.search_space import SearchSpace
from spaces.space import Kind
from tests.ready_made import settings
from tests.spaces.enqueued import drawn

NAMED = {name: entry.recipe for name, entry in ALGORITHMS.items() if entry.recipe is not None}
NETWORKS: dict[Kind, str] = {
    "classification": "conv4",
    "regression": "mlp",
    "segmentation": "unet",
    "translation": "transformer",
}
WITH_COMPOSED = [n for n in ready_made_names() if "composed" in read_source(n)["algorithms"]]


def moved(name: str, kind: Kind, hyper: dict[str, Value]) -> dict[str, tuple[Value, Value]]:
    """Return (published, drawn) of what a recipe does not have as its paper says."""
    published = ALGORITHM_SPACES[name].defaults[kind]
    assert published.keys() <= hyper.keys()
    return {k: (v, hyper[k]) for k, v in published.items() if v != hyper[k]}


@pytest.mark.parametrize("kind", NETWORKS)
def test_every_named_recipe_has_its_published_values(kind: Kind) -> None:
    network = NETWORKS[kind]
    space = SearchSpace(["composed"], [network], kind)
    points = space.points("composed", network)
    for name, parameters in points.items():
        assert moved(name, kind, drawn(space, parameters).hyper) == {}, name
    assert space.adjusted_points("composed", network) == {}
    excluded = space.excluded_points("composed", network)
    published = {name for name in NAMED if kind in ALGORITHM_SPACES[name].defaults}
    assert {*points, *excluded, "maml"} == published
    assert excluded == {}


def test_the_first_default_is_maml_or_without_second_derivatives_for_translation() -> None:
    for kind, values in COMPOSED.defaults.items():
        name = "fomaml" if kind == "translation" else "maml"
        assert moved(name, kind, dict(values)) == {}


def test_there_are_ready_made_searches_of_composed() -> None:
    assert "sinusoid-composed" in WITH_COMPOSED


@pytest.mark.parametrize("ready", WITH_COMPOSED)
def test_ready_made_searches_tell_what_they_move_of_a_recipe(ready: str) -> None:
    space = load_spec(ready, settings(ready)).search_space()
    for network in space.networks:
        told = space.adjusted_points("composed", network)
        points = space.points("composed", network)
        assert set(told) <= set(points)
        assert points
        for name, parameters in points.items():
            found = moved(name, space.kind, drawn(space, parameters).hyper)
            assert {f"composed/{k}": v for k, v in found.items()} == told.get(name, {}), name


def test_reptile_keeps_its_outer_rate_in_the_ready_made_search() -> None:
    space = load_spec("sinusoid-composed").search_space()
    reptile = drawn(space, space.points("composed", "mlp")["reptile"])
    assert (reptile.hyper["outer_optimizer"], reptile.hyper["outer_lr"]) == ("sgd", 0.5)


def moved_by(**overrides: Parameter) -> dict[str, dict[str, tuple[Value, Value]]]:
    full = {name.replace("__", "/"): value for name, value in overrides.items()}
    return SearchSpace(["composed"], ["mlp"], "regression", full).adjusted_points("composed", "mlp")


def test_what_an_override_moves_of_a_recipe_is_told() -> None:
    rate = {"reptile": {"composed/outer_lr": (0.5, 0.01)}}
    assert moved_by(composed__outer_lr=Float(0.001, 0.01)) == rate
    assert moved_by(composed__inner_steps=Int(1, 8)) == {"imaml": {"composed/inner_steps": (16, 8)}}
    schedule = moved_by(composed__outer_schedule=Choice(("constant", "cosine")))
    assert schedule == {"reptile": {"composed/outer_schedule": ("linear", "constant")}}


def test_only_defaults_that_are_used_are_told() -> None:
    overrides: dict[str, Parameter] = {
        "composed/context_size": Fixed(3),
        "composed/inner_lr": Fixed(0.5),
    }
    space = SearchSpace(["composed"], ["mlp"], "regression", overrides)
    assert space.adjusted_defaults() == {"composed/inner_lr": (0.01, 0.5)}


def shown(**changes: Any) -> list[str]:
    content = {
        "name": "mine",
        "problem": {"task": "sinusoid", "shots": 5, "query_shots": 5},
        "algorithms": ["composed"],
        "networks": ["mlp"],
        "budget": {"trials": 2, "episodes": 100},
    }
    out = io.StringIO()
    spec: Spec = parse_spec(content | changes)
    dry_run.show(spec, None, Console(file=out, width=200))
    return [line for line in out.getvalue().splitlines() if line.startswith("# composed")]


def test_a_dry_run_says_which_recipes_are_moved_and_which_left_out() -> None:
    space = {"composed/outer_lr": 0.01, "composed/preconditioner": ["none", "kronecker"]}
    lines = shown(space=space)
    assert lines[0] == "# composed/outer_lr: starts at 0.01; its published 0.001 is excluded"
    assert "# composed on mlp: reptile: outer_lr is 0.01; its published 0.5 is excluded" in lines
    left_out = "is left out of the first trials"
    assert f"# composed on mlp: t-net {left_out}: preconditioner cannot be layerwise here" in lines
    assert not any(f"mamlpp {left_out}" in line for line in lines)
    assert [line for line in shown(space=space, recipes=False) if " on mlp: " in line] == []

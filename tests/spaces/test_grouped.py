"""What mixes the outputs of every layer is never drawn beside convolutions in groups."""

from __future__ import annotations

import random
from functools import cache
from typing import Any

import optuna
import pytest

from algorithms import ALGORITHMS, make
from algorithms.algorithm import Objective
from networks import Network, build
from search.building import objective_of
from search.errors import UserError
from search.spec import Spec, parse_spec
from spaces.algorithms import ALGORITHM_SPACES
from spaces.errors import SpaceError
from spaces.networks import NETWORK_SPACES
from spaces.parameter import Choice, Fixed, Parameter, values_of
from spaces.search_space import SPACES, Learner, SearchSpace
from spaces.torchvision_models import GROUPED_MODELS, TORCHVISION_MODELS
from tests.search.small_runs import distribution, small_config
from tests.spaces.draws import Random

SEARCHED = values_of(NETWORK_SPACES["torchvision"].parameters["model"])
TOO_LARGE = {f"regnet_{name}" for name in ("x_16gf", "x_32gf", "y_16gf", "y_32gf", "y_128gf")}
"""Gigabytes to build; a RegNet's block is the same at every size."""


@cache
def network(model: str) -> Network:
    side = 299 if model == "inception_v3" else 64
    return build("torchvision", (3, side, side), 5, {"model": model})


@cache
def objective() -> Objective:
    return objective_of(small_config(kind="classification"), distribution("classification"))


def made(learner: Learner) -> str:
    """Make a learner; return its model."""
    model = str(learner.settings["model"])
    make(learner.algorithm, network(model), objective(), learner.hyper)
    return model


def space_of(*algorithms: str, **overrides: Parameter) -> SearchSpace:
    full = {name.replace("__", "/"): value for name, value in overrides.items()}
    return SearchSpace(algorithms, ["torchvision"], "classification", full)


@pytest.mark.parametrize("model", sorted(set(TORCHVISION_MODELS) - TOO_LARGE))
def test_models_with_grouped_convolutions_are_listed(model: str) -> None:
    assert bool(network(model).grouped) == (model in GROUPED_MODELS)


def test_every_listed_model_exists() -> None:
    assert set(TORCHVISION_MODELS) >= GROUPED_MODELS >= TOO_LARGE


@pytest.mark.parametrize("name", ALGORITHMS)
def test_algorithms_that_mix_outputs_say_so(name: str) -> None:
    recipe = ALGORITHMS[name].recipe
    mixing = recipe is not None and recipe.preconditioner == "layerwise"
    assert ALGORITHM_SPACES[name].ungrouped == mixing


@pytest.mark.parametrize("algorithm", ["composed", "t-net", "mt-net", "meta-curvature", "maml"])
def test_every_draw_on_torchvision_can_be_made(algorithm: str) -> None:
    space, rng = space_of(algorithm), random.Random(0)
    models = {made(space.suggest(Random(rng))) for _ in range(300)}
    mixes = algorithm in ("t-net", "mt-net")
    assert models == {m for m in SEARCHED if not (mixes and m in GROUPED_MODELS)}
    assert len(models) > 1


def test_composed_mixes_outputs_wherever_that_is_possible() -> None:
    space, rng = space_of("composed"), random.Random(0)
    drawn = {
        (found.settings["model"] in GROUPED_MODELS, found.hyper["preconditioner"])
        for found in (space.suggest(Random(rng)) for _ in range(500))
    }
    assert drawn == {
        *((False, part) for part in ("none", "layerwise", "kronecker")),
        *((True, part) for part in ("none", "kronecker")),
    }


def test_a_study_draws_the_models_of_each_algorithm() -> None:
    space = space_of("maml", "t-net", torchvision__model=Choice(("mobilenet_v2", "resnet50")))
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=0, n_startup_trials=5))
    for algorithm in space.algorithms:
        study.enqueue_trial(space.defaults(algorithm, "torchvision"))
    met = set()
    for _ in range(30):
        trial = study.ask()
        learner = space.suggest(trial)
        met.add((learner.algorithm, made(learner)))
        study.tell(trial, 0.0)
    assert met == {("maml", "mobilenet_v2"), ("maml", "resnet50"), ("t-net", "resnet50")}


@pytest.mark.parametrize("algorithms", [("t-net",), ("maml", "mt-net")])
def test_a_resolved_space_overrides_to_itself(algorithms: tuple[str, ...]) -> None:
    space = space_of(*algorithms)
    again = SearchSpace(algorithms, ["torchvision"], "classification", space.parameters)
    assert again.parameters == space.parameters
    assert again.parameters["torchvision/model@ungrouped"] == Choice(("resnet18", "resnet34"))
    assert ("torchvision/model" in again.parameters) == ("maml" in algorithms)


RIGHT = "choose one without, such as resnet18 or resnet34"
REFUSED: list[tuple[tuple[str, ...], str, Parameter, str]] = [
    (("t-net",), "torchvision/model", Fixed("mobilenet_v2"), "mobilenet_v2: {} t-net cannot mix"),
    (
        ("t-net", "mt-net"),
        "*/model",
        Choice(("resnet18", "regnet_y_400mf", "convnext_tiny")),
        "regnet_y_400mf, convnext_tiny: {} t-net and mt-net cannot mix",
    ),
    (
        ("maml", "t-net"),
        "torchvision/model",
        Choice(("mobilenet_v2", "efficientnet_b0")),
        "mobilenet_v2, efficientnet_b0: {} t-net cannot mix",
    ),
    (
        ("maml", "t-net"),
        "torchvision/model@ungrouped",
        Choice(("mobilenet_v2", "resnet18")),
        "mobilenet_v2: {} t-net cannot mix",
    ),
]


@pytest.mark.parametrize(("algorithms", "key", "override", "message"), REFUSED)
def test_a_model_that_cannot_be_mixed_is_refused(
    algorithms: tuple[str, ...], key: str, override: Parameter, message: str
) -> None:
    with pytest.raises(SpaceError) as error:
        SearchSpace(algorithms, ["torchvision"], "classification", {key: override})
    what = message.format("has grouped convolutions, whose outputs")
    assert str(error.value) == f"{key}: {what}: {RIGHT}"


def test_maps_of_layers_alone_are_refused_beside_models_that_have_none() -> None:
    with pytest.raises(SpaceError) as error:
        space_of(
            "composed",
            torchvision__model=Fixed("mobilenet_v2"),
            composed__preconditioner=Fixed("layerwise"),
        )
    assert str(error.value) == (
        "torchvision/model: mobilenet_v2: has grouped convolutions, whose outputs composed cannot "
        f"mix by preconditioner layerwise alone: {RIGHT}"
    )
    # Each of the two alone leaves something to draw.
    space_of("composed", torchvision__model=Fixed("mobilenet_v2"))
    space_of("composed", composed__preconditioner=Fixed("layerwise"))


def specification(**changes: Any) -> Spec:
    content: dict[str, Any] = {
        "name": "mine",
        "problem": {"task": "omniglot", "ways": 5, "shots": 1, "query_shots": 5},
        "algorithms": ["t-net"],
        "networks": ["torchvision"],
        "budget": {"trials": 2, "episodes": 100},
    }
    return parse_spec(content | changes)


def test_a_specification_names_the_field_of_such_a_model() -> None:
    with pytest.raises(UserError) as error:
        specification(space={"torchvision/model": ["resnet18", "mobilenet_v2"]})
    assert str(error.value).startswith("space.torchvision/model: mobilenet_v2: has grouped conv")
    resolved = specification().resolved()
    assert parse_spec(resolved).resolved() == resolved


@pytest.mark.parametrize("algorithms", [["maml", "t-net"], ["t-net", "maml"]])
def test_where_algorithms_start_apart_each_start_is_told(algorithms: list[str]) -> None:
    models = Choice(("resnext50_32x4d", "resnet34"))
    space = SearchSpace(
        algorithms, ["torchvision"], "classification", {"torchvision/model": models}
    )
    published = NETWORK_SPACES["torchvision"].defaults["classification"]["model"]
    assert space.adjusted_defaults() == {
        "torchvision/model": (published, "resnext50_32x4d"),
        "torchvision/model@ungrouped": (published, "resnet34"),
    }


def test_a_network_of_your_own_may_say_what_of_it_is_grouped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from spaces.space import Space

    defaults = {"classification": {"groups": 1, "width": 8}}
    own = Space(
        {"groups": Choice((1, 2, 4)), "width": Choice((8, 16))},
        defaults,  # type: ignore[arg-type]
        grouped={"groups": frozenset({2, 4})},
    )
    monkeypatch.setitem(NETWORK_SPACES, "own", own)
    assert SPACES["own"] is own
    space, rng = SearchSpace(["t-net", "maml"], ["own"], "classification"), random.Random(0)
    drawn = {
        (found.algorithm, found.settings["groups"])
        for found in (space.suggest(Random(rng)) for _ in range(200))
    }
    assert drawn == {("t-net", 1), ("maml", 1), ("maml", 2), ("maml", 4)}

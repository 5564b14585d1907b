"""The specification: what is said of a wrong one, before anything is computed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from search.errors import UserError
from search.spec import load_spec
from tests.search.specs import BUDGET, OMNIGLOT, SMALLEST, spec

TIME = 'must be a time above 0, such as 150, "150s", "8m" or "1h30m"'
GPU = "must be auto, a share of a GPU such as 0.25, or a whole number of GPUs"
NO_GPUS = (float("nan"), float("inf"), -0.5, 1.5, "all", "0.5", [1])

WRONG: list[tuple[dict[str, Any], str]] = [
    ({"budgett": {}}, "budgett: unknown key: did you mean budget?"),
    (
        {"xyz": 1},
        "xyz: unknown key: known: algorithms, budget, concurrency, confirmation, description, "
        "name, networks, problem, recipes, resources, seed, seeds, space, study_url",
    ),
    (
        {"problem": OMNIGLOT | {"evaluation": {"sead": 1}}},
        "problem.evaluation.sead: unknown key: did you mean seed?",
    ),
    (
        {"problem": {"task": "sinusoid", "shots": 1}},
        "problem.query_shots: missing: a specification must have it",
    ),
    (
        {"name": "a b"},
        "name: 'a b': must be at most 100 letters, digits, '.', '_' and '-', a letter or digit "
        "first",
    ),
    ({"algorithms": []}, "algorithms: []: must be a list with at least one entry"),
    ({"algorithms": "maml"}, "algorithms: 'maml': must be a list, such as [maml, anil]"),
    (
        {"algorithms": ["maml", "mamml"]},
        "algorithms: 'mamml': unknown algorithm: did you mean maml?",
    ),
    ({"algorithms": ["maml", "maml"]}, "algorithms: ['maml', 'maml']: maml is listed twice"),
    ({"networks": ["conv5"]}, "networks: 'conv5': unknown network: did you mean conv4?"),
    ({"networks": ["conv4"]}, "networks: 'conv4': needs images, and sinusoid has none"),
    ({"problem": 3}, "problem: 3: must be a mapping of keys to values"),
    (
        {"problem": OMNIGLOT | {"task": "omnigloot"}},
        "problem.task: 'omnigloot': unknown task: did you mean omniglot?",
    ),
    ({"problem": OMNIGLOT | {"shots": 0}}, "problem.shots: 0: must be at least 1"),
    ({"problem": OMNIGLOT | {"shots": 1.5}}, "problem.shots: 1.5: must be a whole number"),
    ({"problem": OMNIGLOT | {"shots": True}}, "problem.shots: true: must be a whole number"),
    ({"problem": OMNIGLOT | {"ways": 1}}, "problem.ways: 1: must be at least 2"),
    (
        {"problem": OMNIGLOT | {"ways": None}},
        "problem.ways: null: omniglot needs the classes of an episode, such as 5",
    ),
    (
        {"problem": SMALLEST["problem"] | {"ways": 5}},
        "problem.ways: 5: sinusoid has no classes; leave it out",
    ),
    (
        {"problem": OMNIGLOT | {"split": "vinyls"}},
        "problem.split: 'vinyls': omniglot has no such split: did you mean vinyals?",
    ),
    (
        {"problem": SMALLEST["problem"] | {"split": "lake"}},
        "problem.split: 'lake': sinusoid has no such split: leave it out",
    ),
    (
        {"problem": OMNIGLOT | {"transductive": "yes"}},
        "problem.transductive: 'yes': must be true or false",
    ),
    ({"budget": {"episodes": 9, "trials": -3}}, "budget.trials: -3: must be at least 1"),
    (
        {"budget": {"episodes": 9, "trials": "many"}},
        "budget.trials: 'many': must be a whole number",
    ),
    ({"budget": {"episodes": 9}}, "budget.trials: null: give a number of trials, or a time_limit"),
    (
        {"budget": {"episodes": 9, "time_limit": "soon"}},
        f"budget.time_limit: 'soon': {TIME}",
    ),
    (
        {"budget": {"trials": 1, "episodes": 100, "first_rung": 101}},
        "budget.first_rung: 101: must be at most budget.episodes, 100",
    ),
    (
        {"budget": {"trials": 1, "episodes": 100, "reduction_factor": 1}},
        "budget.reduction_factor: 1: must be at least 2",
    ),
    (
        {"concurrency": "all"},
        "concurrency: 'all': must be auto, or a whole number from 1 to 100000",
    ),
    ({"concurrency": True}, "concurrency: true: must be auto, or a whole number from 1 to 100000"),
    ({"resources": {"cpu": 0}}, "resources.cpu: 0: must be above 0"),
    *(({"resources": {"gpu": gpu}}, f"resources.gpu: {gpu!r}: {GPU}") for gpu in NO_GPUS),
    ({"resources": {"gpu": True}}, f"resources.gpu: true: {GPU}"),
    ({"resources": {"gpu": None}}, f"resources.gpu: null: {GPU}"),
    ({"resources": {"cpu": -1}}, "resources.cpu: -1: must be above 0"),
    ({"resources": {"memory_gb": 0}}, "resources.memory_gb: 0: must be above 0"),
    *(
        ({"budget": BUDGET | {"trial_timeout": time}}, f"budget.trial_timeout: {time!r}: {TIME}")
        for time in (0, -1, "0s", "soon", float("inf"))
    ),
    ({"resources": {"memory_gb": 1e308}}, "resources.memory_gb: 1e+308: must be at most 100000"),
    ({"resources": {"gpu": 10**9}}, f"resources.gpu: 1000000000: {GPU}"),
    (
        {"concurrency": 10**9},
        "concurrency: 1000000000: must be auto, or a whole number from 1 to 100000",
    ),
    ({"seeds": 1001}, "seeds: 1001: must be at most 1000"),
    ({"problem": OMNIGLOT | {"shots": 10001}}, "problem.shots: 10001: must be at most 10000"),
    ({"problem": OMNIGLOT | {"ways": 10001}}, "problem.ways: 10001: must be at most 10000"),
    (
        {"problem": OMNIGLOT | {"evaluation": {"test_episodes": 10**9}}},
        "problem.evaluation.test_episodes: 1000000000: must be at most 1000000",
    ),
    (
        {"budget": {"trials": 10**9, "episodes": 9}},
        "budget.trials: 1000000000: must be at most 1000000",
    ),
    (
        {"budget": {"trials": 1, "episodes": 10**13}},
        "budget.episodes: 10000000000000: must be at most 1000000000000",
    ),
    (
        {"budget": BUDGET | {"time_limit": 1e300}},
        "budget.time_limit: 1e+300: must be at most 87600h, which is ten years",
    ),
    (
        {"description": "x" * 10001},
        f"description: '{'x' * 56}...: must have at most 10000 characters",
    ),
    (
        {"space": {"maml/inner_lr": [i / 2000 for i in range(1001)]}},
        "space.maml/inner_lr: 1001 options: give at most 1000",
    ),
    ({"seed": 2**32}, "seed: 4294967296: must be at most 4294967295"),
    ({"description": 3}, "description: 3: must be text"),
    ({"space": []}, "space: []: must be a mapping of keys to values"),
    (
        {"space": {"maml/inner_lr": {"low": 1, "high": 0.1}}},
        "space.maml/inner_lr: low 1.0, high 0.1: the range is empty; low must not be above high",
    ),
    (
        {"space": {"maml/inner_lr": []}},
        "space.maml/inner_lr: []: a choice needs at least one option",
    ),
    (
        {"space": {"maml/iner_lr": 0.1}},
        "space.maml/iner_lr: unknown parameter iner_lr: did you mean inner_lr?",
    ),
    (
        {"space": {"maml/inner_steps": 0}},
        "space.maml/inner_steps: 0: must be a whole number from 1 to 1000",
    ),
]


@pytest.mark.parametrize(("changes", "message"), WRONG)
def test_a_wrong_value_is_named_with_what_would_be_right(
    changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError) as error:
        spec(**changes)
    assert str(error.value) == message


ATTENTION = (
    "vit_b_16: its layer encoder.layers.encoder_layer_0.self_attention (MultiheadAttention) has no "
    "version with an episode axis; choose another model, such as resnet18"
)
OF_TORCHVISION: list[tuple[Any, str]] = [
    ("vit_b_16", ATTENTION),
    (["resnet18", "vit_b_16"], ATTENTION),
    ("squeezenet1_0", "squeezenet1_0: its last layer (classifier.3) is not linear, so that it has"),
    ("resnet19", "resnet19: must be one of resnet18, resnet152, resnet101, alexnet, convnext_base"),
    ("ResNet18", "ResNet18: must be one of resnet18, "),
    ("nothing-like-it", "nothing-like-it: must be one of alexnet, convnext_base"),
]


@pytest.mark.parametrize(("model", "message"), OF_TORCHVISION)
def test_a_model_of_torchvision_that_cannot_be_used_is_told_by_its_layer(
    model: Any, message: str, tmp_path: Path
) -> None:
    content = {"problem": OMNIGLOT, "networks": ["torchvision"]}
    with pytest.raises(UserError) as error:
        spec(**content, space={"torchvision/model": model})
    assert str(error.value).startswith(f"space.torchvision/model: {message}")
    assert "\n" not in str(error.value)
    file = tmp_path / "mine.yaml"
    file.write_text(json.dumps(SMALLEST | content))
    with pytest.raises(UserError) as error:
        load_spec(file, {"space.torchvision/model": json.dumps(model)})
    assert str(error.value).startswith(f"space.torchvision/model: {message}")


def test_every_problem_is_told_on_a_line_of_its_own() -> None:
    with pytest.raises(UserError) as error:
        spec(seed=-1, budget={"episodes": 0, "trials": 0})
    assert str(error.value).splitlines() == [
        "budget.trials: 0: must be at least 1",
        "budget.episodes: 0: must be at least 1",
        "seed: -1: must be at least 0",
    ]
    with pytest.raises(UserError) as error:
        spec(networks=["conv4"], space={"maml/inner_lr": [], "reptil/inner_lr": 1})
    assert str(error.value).splitlines() == [
        "networks: 'conv4': needs images, and sinusoid has none",
        "space.maml/inner_lr: []: a choice needs at least one option",
        "space.reptil/inner_lr: unknown algorithm or network reptil: did you mean reptile?",
    ]


def test_of_very_many_problems_the_first_are_told() -> None:
    with pytest.raises(UserError) as error:
        spec(algorithms=[f"no-{number}" for number in range(50)])
    told = str(error.value).splitlines()
    assert len(told) == 21
    assert told[0].startswith("algorithms: 'no-0': unknown algorithm: ")
    assert told[-1] == "and 30 more"
    with pytest.raises(UserError) as error:
        spec(space={"x" * 5000: 1, "\x1b[2J/inner_lr": 1})
    long, hidden = str(error.value).splitlines()
    assert len(long) == 1000
    assert hidden.startswith("space.\\x1b[2J/inner_lr: unknown algorithm or network \\x1b[2J: ")

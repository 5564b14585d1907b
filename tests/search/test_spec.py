"""The specification: what it means, and what is said of a wrong one."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from episodes import TASKS, load
from search.errors import UserError
from search.spec import Spec, load_spec, parse_spec, ready_made
from search.spec_source import ready_made_names
from spaces.parameter import Fixed, Float
from tests.ready_made import settings

SMALLEST: dict[str, Any] = {
    "name": "mine",
    "problem": {"task": "sinusoid", "shots": 10, "query_shots": 10},
    "algorithms": ["maml"],
    "networks": ["mlp"],
    "budget": {"trials": 4, "episodes": 900},
}
OMNIGLOT = {"task": "omniglot", "shots": 1, "query_shots": 15, "ways": 5}


def spec(**changes: Any) -> Spec:
    return parse_spec(SMALLEST | changes)


@pytest.mark.parametrize("name", ready_made_names())
def test_a_ready_made_search_is_valid_and_names_itself(name: str) -> None:
    loaded = load_spec(name, settings(name))
    assert loaded.name == name
    assert not loaded.problem.transductive
    family = {"maml", "fomaml", "reptile", "anil", "meta-sgd", "pretrain"}
    if TASKS[loaded.problem.task].kind == "translation":
        family = {"fomaml", "reptile", "anil", "pretrain", "scratch"}
    assert loaded.algorithms == ["composed"] or set(loaded.algorithms) >= family


def test_ready_made_searches_are_listed_with_a_line_each() -> None:
    listed = ready_made()
    assert [name for name, _ in listed] == ready_made_names()
    assert all(line and "\n" not in line for _, line in listed)


def test_defaults_are_filled_in() -> None:
    smallest = spec()
    assert smallest.first_rung == 100
    assert smallest.rungs() == (100, 300)
    assert smallest.concurrency == "auto"
    assert (smallest.confirmation.best, smallest.confirmation.seeds) == (3, 2)
    assert (smallest.resources.cpu, smallest.resources.gpu) == (1.0, 0.0)


@pytest.mark.parametrize(
    ("budget", "rungs"),
    [
        ({"episodes": 20000, "first_rung": 2500}, (2500, 7500)),
        ({"episodes": 7500, "first_rung": 2500}, (2500,)),
        ({"episodes": 2500, "first_rung": 2500}, ()),
        ({"episodes": 100, "first_rung": 10, "reduction_factor": 2}, (10, 20, 40, 80)),
        ({"episodes": 3}, (1,)),
    ],
)
def test_rungs_grow_by_the_reduction_factor_and_stay_below_the_end(
    budget: dict[str, Any], rungs: tuple[int, ...]
) -> None:
    assert spec(budget={"trials": 1} | budget).rungs() == rungs


def test_the_problem_carries_everything_that_makes_trials_comparable() -> None:
    evaluation = {"seed": 7, "rung_episodes": 20, "ranking_episodes": 60, "test_episodes": 100}
    problem = spec(problem=OMNIGLOT | {"evaluation": evaluation}).problem_for("abc")
    assert problem.name == "omniglot-5way-1shot"
    assert (problem.kind, problem.split, problem.data_digest) == (
        "classification",
        "vinyals",
        "abc",
    )
    assert (problem.evaluation_seed, problem.rung_episodes) == (7, 20)
    assert (problem.ranking_episodes, problem.test_episodes) == (60, 100)
    assert spec().problem_for("abc").split is None


def test_a_split_left_out_is_the_same_problem_as_the_default_one() -> None:
    named = spec(problem=OMNIGLOT | {"split": "vinyals"})
    assert named.problem_for("abc").hash == spec(problem=OMNIGLOT).problem_for("abc").hash


def test_overrides_reach_the_search_space() -> None:
    space = spec(
        space={
            "*/inner_steps_evaluation": 5,
            "maml/inner_lr": {"low": 0.001, "high": 0.1, "log": True},
        }
    ).search_space()
    assert space.parameters["maml/inner_steps_evaluation"] == Fixed(5)
    assert space.parameters["maml/inner_lr"] == Float(0.001, 0.1, log=True)


@pytest.mark.parametrize("name", ready_made_names())
def test_a_resolved_specification_is_json_and_a_specification(name: str) -> None:
    loaded = load_spec(name, settings(name))
    resolved = loaded.resolved()
    again = parse_spec(json.loads(json.dumps(resolved)))
    assert again.resolved() == resolved
    assert again.search_space().parameters == loaded.search_space().parameters


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://sweep:secret@head:5432/optuna", "postgresql://sweep:***@head:5432/optuna"),
        ("postgresql://sweep:se/cret@head/optuna", "postgresql://sweep:***@head/optuna"),
        ("postgresql:///optuna?password=secret&user=a", "postgresql:///optuna?password=***&user=a"),
        ("postgresql://head:5432/optuna", "postgresql://head:5432/optuna"),
        ("sqlite:////tmp/a@b.db", "sqlite:////tmp/a@b.db"),
    ],
)
def test_a_resolved_specification_holds_no_password(url: str, shown: str) -> None:
    assert spec(study_url=url).resolved()["study_url"] == shown


def test_values_set_on_top_are_validated_with_the_rest() -> None:
    changed = load_spec("sinusoid", {"budget.trials": "6", "budget.time_limit": "8m", "seed": "3"})
    assert (changed.budget.trials, changed.budget.time_limit, changed.seed) == (6, 480.0, 3)
    with pytest.raises(UserError) as error:
        load_spec("sinusoid", {"budget.trails": "6"})
    assert str(error.value) == "budget.trails: unknown key: did you mean trials?"
    assert error.value.exit_code == 2


@pytest.mark.parametrize(
    ("given", "meant"), [(0, 0.0), (0.25, 0.25), (1, 1.0), (2, 2.0), ("auto", "auto")]
)
def test_a_trial_has_a_share_of_a_gpu_or_whole_ones_or_what_it_needs(
    given: Any, meant: float | str
) -> None:
    found = spec(resources={"gpu": given})
    assert found.resources.gpu == meant
    assert found.resolved()["resources"]["gpu"] == meant
    assert parse_spec(json.loads(json.dumps(found.resolved()))).resources.gpu == meant


@pytest.mark.parametrize(
    ("given", "meant"), [({}, 3600.0), ("30m", 1800.0), (90, 90.0), (None, None)]
)
def test_a_trial_that_tells_nothing_for_so_long_hangs(given: Any, meant: float | None) -> None:
    timeout = {} if given == {} else {"trial_timeout": given}
    found = spec(budget=BUDGET | timeout)
    assert found.budget.trial_timeout == meant
    assert parse_spec(found.resolved()).budget.trial_timeout == meant


def test_trials_or_a_time_limit_is_enough() -> None:
    assert spec(budget={"episodes": 9, "time_limit": "8m"}).budget.trials is None
    assert spec(budget={"episodes": 9, "trials": 2}).budget.time_limit is None


BUDGET = {"trials": 1, "episodes": 9}
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


def test_image_tasks_are_tasks_whose_examples_are_images() -> None:
    others = [name for name, task in TASKS.items() if not task.images]
    sentences = ["translation", "translation-tatoeba"]
    assert others == ["sinusoid", "harmonic", "sinusoid-line", "arrays", *sentences]
    for name, task in TASKS.items():
        if not task.needs_data and not any(option.required for option in task.options):
            shape = load(name, shots=1, query_shots=1).input_shape
            assert (len(shape) == 3) == task.images


def test_a_specification_needs_no_heavy_package() -> None:
    heavy = ("torch", "ray", "optuna", "mlflow", "pandas")
    code = (
        "import sys; from search.spec import load_spec; load_spec('sinusoid').search_space()\n"
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    assert done.stdout.strip() == "[]"

"""The specification: what it means."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from episodes import TASKS, load
from search.config_file import read_config
from search.errors import UserError
from search.spec import load_spec, parse_spec, ready_made
from search.spec_source import parse_yaml, ready_made_names
from spaces.parameter import Fixed, Float
from tests.ready_made import settings
from tests.search.specs import BUDGET, OMNIGLOT, SMALLEST, spec


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


def test_the_other_kind_of_file_is_told_apart(tmp_path: Path) -> None:
    configuration, search = tmp_path / "best.yaml", tmp_path / "search.yaml"
    for content in ({"config": {"algorithm": "maml"}, "results": {}}, {"algorithm": "maml"}):
        configuration.write_text(yaml.safe_dump(content))
        with pytest.raises(UserError, match=f"trained by: metasweep train {configuration}"):
            load_spec(configuration)
    search.write_text(yaml.safe_dump(SMALLEST))
    with pytest.raises(UserError, match=f"run by: metasweep search {search}"):
        read_config(search)


def test_what_of_the_space_is_not_searched_is_told() -> None:
    space = {"anil/inner_lr": 0.5, "maml/inner_lr": 0.1, "*/meta_batch_size": 4, "conv4/depth": 3}
    spec = parse_spec(SMALLEST | {"algorithms": ["maml"], "networks": ["mlp"], "space": space})
    assert spec.unused() == [
        "space.anil/inner_lr: has no effect, since anil is not searched",
        "space.conv4/depth: has no effect, since conv4 is not searched",
    ]


def test_what_does_not_fit_a_problem_is_told_where_it_stands() -> None:
    with pytest.raises(UserError) as caught:
        parse_spec(SMALLEST | {"algorithms": ["proto-maml"], "networks": ["unet"]})
    lines = str(caught.value).splitlines()
    assert any(line.startswith("algorithms: 'proto-maml': is not for regression") for line in lines)
    assert any(line.startswith("networks: 'unet': is not for regression") for line in lines)


def test_a_star_without_quotes_is_told_to_have_them() -> None:
    with pytest.raises(UserError, match=r'mine, line 2: .* needs quotes: "\*/inner_lr"'):
        parse_yaml("space:\n  */inner_lr: 0.1\n", "mine")

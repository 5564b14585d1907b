"""Options of a task: from a specification to the problem, its runs and its files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from episodes import TASKS, Option
from search.config import Config
from search.config_file import read_config
from search.distribution import distribution_of
from search.errors import UserError
from search.extension_checks import task_problem
from search.run_params import from_params, to_params
from search.sampling import load_problem
from search.spec import Spec, load_spec, parse_spec
from tests.cli import call

SPEC: dict[str, Any] = {
    "name": "mine",
    "algorithms": ["maml"],
    "networks": ["mlp"],
    "budget": {"trials": 4, "episodes": 900},
}
CONFIG: dict[str, Any] = {"algorithm": "maml", "network": "mlp", "episodes": 100}


def spec(task: str = "sinusoid-line", **options: Any) -> Spec:
    problem = {"task": task, "shots": 5, "query_shots": 5, "options": options}
    return parse_spec(SPEC | {"problem": problem})


def config(path: Path, task: str = "sinusoid-line", **options: Any) -> Config:
    problem = {"task": task, "kind": "regression", "shots": 5, "query_shots": 5, "options": options}
    path.write_text(yaml.safe_dump(CONFIG | {"problem": problem}))
    return read_config(path)


def test_defaults_are_filled_in_and_the_whole_is_a_specification_again() -> None:
    usual = spec()
    assert usual.resolved()["problem"]["options"] == {"noise": 0.3}
    assert parse_spec(usual.resolved()).resolved() == usual.resolved()
    assert spec("sinusoid").resolved()["problem"]["options"] == {"noise": 0.0}
    assert load_spec("omniglot-5way-1shot", {}).resolved()["problem"]["options"] == {}


def test_an_option_that_changes_the_data_makes_another_problem() -> None:
    usual, _ = load_problem(spec(), None)
    named, _ = load_problem(spec(noise=0.3), None)
    noisy, distribution = load_problem(spec(noise=1), None)
    assert named == usual
    assert noisy.hash != usual.hash
    assert noisy.options == {"noise": 1.0}
    assert distribution_of(noisy, None).digest == distribution.digest == noisy.data_digest
    # A file may move: what tells problems apart is the digest of what it holds.
    assert replace(usual, options={"file": "/elsewhere"}).hash == usual.hash


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"noize": 1}, "problem.options.noize: sinusoid-line has no such option: did you mean "),
        ({"noise": "loud"}, "problem.options.noise: 'loud': must be a number, at least 0"),
        ({"noise": -1.0}, "problem.options.noise: -1.0: must be a number, at least 0"),
    ],
)
def test_a_wrong_option_is_named_in_specifications_and_configurations(
    options: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError) as error:
        spec(**options)
    assert str(error.value).startswith(message)
    with pytest.raises(UserError) as error:
        config(tmp_path / "mine.yaml", **options)
    assert str(error.value).startswith(f"{tmp_path / 'mine.yaml'}: {message}")


def test_options_are_set_from_the_command_line() -> None:
    loaded = load_spec("sinusoid", {"problem.task": "harmonic", "problem.options.noise": "0.5"})
    assert loaded.options == {"noise": 0.5}
    with pytest.raises(UserError, match="omniglot has no such option: leave it out"):
        load_spec("omniglot-5way-1shot", {"problem.options.noise": "0.5"})


def test_a_run_keeps_options_among_its_parameters(tmp_path: Path) -> None:
    written = config(tmp_path / "mine.yaml", noise=0.5)
    params = to_params(written)
    assert params["problem/options/noise"] == "0.5"
    assert from_params(params) == written
    assert Config.from_dict(written.to_dict()) == written
    others = {"features": ["x", "y"], "file": "/data/1.csv", "scale": False, "name": "0.5"}
    several = replace(written, problem=replace(written.problem, options=others))
    assert from_params(to_params(several)) == several


def test_a_configuration_takes_the_defaults_of_options(tmp_path: Path) -> None:
    written = config(tmp_path / "mine.yaml")
    assert written.problem.options == {"noise": 0.3}
    assert config(tmp_path / "mine.yaml", "sinusoid").problem.options == {"noise": 0.0}


def test_the_option_kind_decides_what_else_a_problem_needs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kinds = Option("kind", "text", "what it is", choices=("regression", "classification"))
    either = replace(TASKS["sinusoid"], name="either", options=(kinds,))
    monkeypatch.setitem(TASKS, "either", either)
    assert spec("either").problem_for("").kind == "regression"
    with pytest.raises(UserError, match=r"problem.ways: null: either needs the classes"):
        spec("either", kind="classification")
    with pytest.raises(UserError, match=r"^problem.options.kind: 'x': must be one of [^\n]*$"):
        spec("either", kind="x")


def test_an_extensions_options_are_checked() -> None:
    own = replace(TASKS["sinusoid"], options=(Option("a/b", "number", "x"),))
    assert "its name as in Python" in str(task_problem(own))
    assert task_problem(TASKS["harmonic"]) is None


def test_list_says_what_may_be_chosen(tmp_path: Path) -> None:
    done = call("list", folder=tmp_path)
    assert "options.noise: standard deviation of the normal noise" in done.output
    assert "(a number, at least 0; default 0.3)" in done.output
    assert "split: vinyals or lake" in done.output

"""docs/extend: an algorithm, a network and a task of a user's own, found in both ways."""

from __future__ import annotations

import importlib
import json
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

import networks
from algorithms import Objective
from algorithms.compose import compose
from algorithms.parts.losses import REGRESSION
from algorithms.recipe import Recipe
from search import extensions
from search.errors import UserError
from search.spec import load_spec, parse_spec
from search.spec_source import set_values
from search.user_code import own_path
from tests.cli import INSTALLED, SMALL, call, run
from tests.extending import EXTEND, PACKAGE, fresh_process, install, refusal


@pytest.fixture
def fresh() -> Iterator[None]:
    with fresh_process():
        yield


class TestModuleAndAttribute:
    def test_runs_from_the_search_to_an_evaluation(self, fresh: None, tmp_path: Path) -> None:
        for name in ("my_learners.py", "steps.yaml"):
            shutil.copy(EXTEND / name, tmp_path)
        done = run(
            *("search", "steps.yaml", "--trials=3", "--episodes=300"),
            *(
                "--set=confirmation.best=0",
                "--set=space.my_learners:signed_maml/inner_steps=2",
                *SMALL,
            ),
            folder=tmp_path,
            # Unlike `python -m`, it does not import from the current folder by itself.
            command=INSTALLED,
        )
        assert done.code == 0, done.output
        assert "query_loss, lower is better" in done.output
        board = call("leaderboard", "my_learners-steps-10shot", "--format=json", folder=tmp_path)
        rows = json.loads(board.output)["ranked"]
        assert {"my_learners:signed_maml"} <= {row["algorithm"] for row in rows}
        assert {"my_learners:waves"} <= {row["network"] for row in rows}
        for row in rows:
            if row["algorithm"] == "my_learners:signed_maml":
                assert row["parameters"]["my_learners:signed_maml/inner_steps"] == 2

        exported = call("export", "steps", "-o", "best.yaml", folder=tmp_path)
        assert exported.code == 0, exported.output
        config = yaml.safe_load((tmp_path / "best.yaml").read_text())["config"]
        assert config["problem"]["task"] == "my_learners:steps"
        trained = call("train", "best.yaml", "--seeds=1", folder=tmp_path)
        assert trained.code == 0, trained.output
        assert f"query_loss {rows[0]['test_mean']:.4f}" in trained.output
        [checkpoint] = re.findall(r"checkpoint (\S+)", trained.output)
        judged = call("evaluate", checkpoint, "--episodes=50", folder=tmp_path)
        assert judged.code == 0, judged.output
        found = re.search(r"query_loss (\S+)", trained.output)
        assert found is not None
        assert f"query_loss {found[1]} " in judged.output

    def test_driver_tells_workers_where_it_imports_from(
        self, fresh: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.syspath_prepend(tmp_path)
        path = own_path()
        assert str(tmp_path) in path
        assert not [entry for entry in path if "site-packages" in entry or "lib/python" in entry]


def test_readme_holds(fresh: None) -> None:
    readme = (EXTEND / "README.md").read_text()
    assert len(readme.splitlines()) <= 60
    links = re.findall(r"\]\(([^)]+)\)", readme)
    assert links
    assert [link for link in links if not (EXTEND / link).exists()] == []
    paths = re.findall(r"`((?:algorithms|networks|episodes)/\w+\.py)`", readme)
    assert paths
    assert [path for path in paths if not (EXTEND.parents[1] / path).exists()] == []
    [recipe] = re.findall(r"`(compose\(.+)`", readme)
    given = {"compose": compose, "Recipe": Recipe, "objective": Objective(REGRESSION)}
    assert eval(recipe, {**given, "network": networks.build("mlp", (1,), 1, {})}).name == "my-anil"
    assert "metasweep search steps.yaml --dry-run\n" in readme
    done = call("search", "steps.yaml", "--dry-run", folder=EXTEND)
    assert done.code == 0, done.output


class TestEntryPoints:
    def test_list_shows_them(self, tmp_path: Path) -> None:
        install(tmp_path, PACKAGE["name"], PACKAGE["entry-points"])
        install(tmp_path, "worse", {"metasweep.networks": {"lost": "nowhere:net"}})
        shutil.copy(EXTEND / "my_learners.py", tmp_path)
        done = run("list", folder=Path("/"), environment={"PYTHONPATH": str(tmp_path)})
        assert done.code == 0, done.output
        for name, summary in (
            ("signed-maml", "MAML with steps along the gradient's sign"),
            ("waves", "a hidden layer on sines: waves, width"),
            ("steps", "regression of step functions on [-1, 1]"),
        ):
            assert re.search(rf"^  {name} +{re.escape(summary)}$", done.output, re.MULTILINE)
        lost = "cannot be used: the entry point lost = nowhere:net of worse: there is no module"
        assert re.search(rf"^  lost +{re.escape(lost)} nowhere", done.output, re.MULTILINE)

    def test_names_work_in_a_specification(
        self, fresh: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        library = tmp_path / "library"
        install(library, PACKAGE["name"], PACKAGE["entry-points"])
        shutil.copy(EXTEND / "my_learners.py", library)
        monkeypatch.syspath_prepend(library)
        text = (EXTEND / "steps.yaml").read_text().replace("my_learners:", "")
        (tmp_path / "steps.yaml").write_text(text.replace("signed_maml", "signed-maml"))
        done = call("search", "steps.yaml", "--dry-run", folder=tmp_path)
        assert done.code == 0, done.output
        assert "# problem steps-10shot, hash " in done.output
        spec = load_spec(tmp_path / "steps.yaml")
        again = parse_spec(spec.resolved()).search_space()
        assert again.parameters == spec.search_space().parameters

    def test_a_search_runs_by_them(self, tmp_path: Path) -> None:
        library, folder = tmp_path / "library", tmp_path / "elsewhere"
        install(library, PACKAGE["name"], PACKAGE["entry-points"])
        shutil.copy(EXTEND / "my_learners.py", library)
        folder.mkdir()
        content = {
            "name": "installed",
            "problem": {"task": "steps", "shots": 5, "query_shots": 5},
            "algorithms": ["signed-maml"],
            "networks": ["waves"],
            "budget": {"trials": 1, "episodes": 60},
            "confirmation": {"best": 0},
            "space": {"waves/waves": 8},
        }
        (folder / "installed.yaml").write_text(yaml.safe_dump(content))
        done = run(
            *("search", "installed.yaml", *SMALL),
            folder=folder,
            command=INSTALLED,
            environment={"PYTHONPATH": str(library)},
        )
        assert done.code == 0, done.output
        board = call("leaderboard", "steps-5shot", "--format=json", folder=folder)
        [row] = json.loads(board.output)["ranked"]
        assert (row["algorithm"], row["network"]) == ("signed-maml", "waves")
        assert row["parameters"]["waves/waves"] == 8

    @pytest.mark.parametrize(
        ("entries", "asked", "message"),
        [
            (
                {"metasweep.algorithms": {"maml": "my_learners:signed_maml"}},
                {"algorithms": ["maml"]},
                "algorithms: 'maml': is metasweep's own algorithm, and also the entry point maml = "
                "my_learners:signed_maml of other: give the entry point another name",
            ),
            (
                {"metasweep.algorithms": {"mlp": "my_learners:signed_maml"}},
                {"algorithms": ["mlp"]},
                "algorithms: 'mlp': is metasweep's own network, and also the entry point mlp = ",
            ),
            (
                {"metasweep.algorithms": {"seed": "my_learners:signed_maml"}},
                {"algorithms": ["seed"]},
                "algorithms: 'seed': is a key of configurations, and also the entry point seed",
            ),
            (
                {"metasweep.networks": {"waves": "my_learners:waves"}},
                {"networks": ["waves"]},
                " and the entry point waves = my_learners:waves of ",
            ),
            (
                {"metasweep.networks": {"a/b": "my_learners:waves"}},
                {"networks": ["a/b"]},
                "networks: 'a/b': the entry point a/b = my_learners:waves of other: its name must",
            ),
            ({}, {"algorithms": ["signed-mml"]}, "unknown algorithm: did you mean signed-maml?"),
            (
                {},
                {"algorithms": ["my_learners.signed"]},
                "(one of your own is named module:attribute)",
            ),
        ],
    )
    def test_a_name_that_is_taken_or_unknown_is_refused(
        self,
        fresh: None,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        entries: dict[str, dict[str, str]],
        asked: dict[str, Any],
        message: str,
    ) -> None:
        install(tmp_path, PACKAGE["name"], PACKAGE["entry-points"])
        install(tmp_path, "other", entries)
        shutil.copy(EXTEND / "my_learners.py", tmp_path)
        monkeypatch.syspath_prepend(tmp_path)
        assert message in refusal(asked, tmp_path)


def test_names_with_dots_can_be_set() -> None:
    content: dict[str, Any] = {}
    set_values(content, {"space.my.learners:maml/inner_lr": "0.1", "budget.trials": "3"})
    assert content == {"space": {"my.learners:maml/inner_lr": 0.1}, "budget": {"trials": 3}}


def test_a_configuration_resolves_by_itself(fresh: None, tmp_path: Path) -> None:
    """As on a worker, which is given nothing else."""
    shutil.copy(EXTEND / "my_learners.py", tmp_path)
    sys.path.append(str(tmp_path))
    importlib.invalidate_caches()
    extensions.resolve("network", "my_learners:waves")
    extensions.resolve("network", "my_learners:waves")
    assert networks.build("my_learners:waves", (1,), 2, {"waves": 3}).name == "waves"
    with pytest.raises(
        UserError, match=r"network: 'my_learners:wave': my_learners .* has no wave;"
    ):
        extensions.resolve_field("network", "network", "my_learners:wave")

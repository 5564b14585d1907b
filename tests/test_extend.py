"""docs/extend: an algorithm, a network and a task of a user's own, found in both ways."""

from __future__ import annotations

import importlib
import json
import re
import shutil
import sys
import textwrap
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

import networks
from algorithms import ALGORITHMS, Objective
from algorithms.compose import compose
from algorithms.parts.losses import REGRESSION
from algorithms.recipe import Recipe
from episodes import TASKS
from search import extensions
from search.distribution import distribution_of
from search.errors import UserError
from search.spec import load_spec, parse_spec
from search.spec_source import set_values
from search.user_code import own_path
from spaces.algorithms import ALGORITHM_SPACES
from spaces.networks import IMAGE_NETWORKS, NETWORK_SPACES
from tests.cli import INSTALLED, SMALL, call, run

EXTEND = Path(__file__).parents[1] / "docs" / "extend"
PACKAGE = tomllib.loads((EXTEND / "pyproject.toml").read_text())["project"]


@pytest.fixture
def fresh() -> Iterator[None]:
    """This process as it was before any extension was met, and so again afterwards."""
    registries: tuple[Any, ...] = (
        *(ALGORITHMS, ALGORITHM_SPACES, networks.NETWORKS, NETWORK_SPACES, TASKS),
        *(IMAGE_NETWORKS, extensions._added),
    )
    kept = [registry.copy() for registry in registries]
    path, modules = list(sys.path), set(sys.modules)
    extensions._offers.cache_clear()
    distribution_of.cache_clear()
    yield
    for registry, before in zip(registries, kept, strict=True):
        registry.clear()
        registry.update(before)
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        if name in ("my_learners", "broken"):
            del sys.modules[name]
    extensions._offers.cache_clear()
    distribution_of.cache_clear()


def install(folder: Path, name: str, groups: dict[str, dict[str, str]]) -> None:
    """Leave in a folder what an installer leaves there of a package, beside its modules."""
    info = folder / f"{name.replace('-', '_')}-0.1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 0.1.0\n")
    lines = []
    for group, entries in groups.items():
        lines += [f"[{group}]", *(f"{key} = {value}" for key, value in entries.items())]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")


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
        rows = json.loads(board.output)
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
        lost = (
            "  lost                  cannot be used: the entry point lost = nowhere:net of worse: "
        )
        assert lost + "there is no module nowhere" in done.output

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


def refusal(asked: dict[str, Any], folder: Path) -> str:
    """Return what a dry run complains of, in a folder."""
    content = {
        "name": "mine",
        "problem": {"task": "sinusoid", "shots": 3, "query_shots": 4},
        "algorithms": ["maml"],
        "networks": ["mlp"],
        "budget": {"trials": 1, "episodes": 10},
    }
    task = asked.pop("task", None)
    if task is not None:
        content["problem"] = {"task": task, "shots": 3, "query_shots": 4}
    (folder / "mine.yaml").write_text(yaml.safe_dump(content | asked))
    done = call("search", "mine.yaml", "--dry-run", folder=folder)
    assert done.code == 2, done.output
    assert "Traceback" not in done.output
    return done.errors


BROKEN = """
    from dataclasses import replace
    import algorithms, networks
    import my_learners
    from episodes import Task
    from episodes.episode import Examples
    from my_learners import *
    from spaces.space import Space

    number = 3
    space = signed_maml.space
    no_outer = replace(
        signed_maml, space=Space({"inner_lr": Float(0.1, 1.0)}, {"regression": {"inner_lr": 0.1}})
    )
    no_default = replace(signed_maml, space=Space(space.parameters, {"regression": {}}))
    classes_only = replace(
        signed_maml,
        space=Space(space.parameters, {"classification": space.defaults["classification"]}),
    )
    network_no_kind = replace(waves, space=Space(waves.space.parameters, {"classification": WAVES}))

    def fails(network, objective):
        return 1 / 0
    failing = replace(signed_maml, entry=algorithms.Entry(fails, "fails"))

    def late(network, objective):
        found = make_signed_maml(network, objective)
        return replace(found, predict=lambda *arguments: arguments[9])
    late_failing = replace(signed_maml, entry=algorithms.Entry(late, "fails late"))

    def flat(input_shape, outputs, **settings):
        found = make_waves(input_shape, outputs, **settings)
        return replace(found, head=lambda params, hidden: found.head(params, hidden)[..., 0])
    flat_network = replace(waves, entry=networks.Entry(flat, "outputs without an axis"))

    class Wrong(Steps):
        def __init__(self, change):
            super().__init__(3, 4)
            self.change = change
        def sample(self, split, seed, indices):
            found = super().sample(split, seed, indices)
            return self.change(found, split)

    def task(change):
        return Task("wrong", "wrong", "regression", lambda **_: Wrong(change))
    def support(inputs=lambda x: x, targets=lambda y: y):
        return task(lambda e, split: replace(
            e, support=Examples(inputs(e.support.inputs), targets(e.support.targets))))
    shape = support(inputs=lambda x: x[..., 0])
    whole = support(targets=lambda y: y.long())
    infinite = support(inputs=lambda x: x / 0)
    index = task(lambda e, split: replace(e, index=e.index + 1))
    random = support(targets=lambda y: torch.rand_like(y))
    raising = task(lambda e, split: {}[split])
    only_test = task(lambda e, split: e if split != "test" else 3)
    no_load = Task("wrong", "wrong", "regression", lambda **_: 1 // 0)
    no_kind = Task("wrong", "wrong", "clustering", lambda **_: None)
    nothing = Task("wrong", "wrong", "regression", lambda **_: None)
"""

CASES = [
    ({"algorithms": ["nowhere:x"]}, "algorithms: 'nowhere:x': there is no module nowhere; looked"),
    ({"algorithms": ["broken:"]}, "must be module:attribute, such as my_package.learners:my_maml"),
    (
        {"algorithms": ["broken:signed"]},
        "has no signed; every AlgorithmExtension there: signed_maml, no_outer, no_default",
    ),
    (
        {"algorithms": ["broken:number"]},
        "algorithms: 'broken:number': is of type int; it must be a "
        "spaces.extension.AlgorithmExtension; every AlgorithmExtension there: signed_maml",
    ),
    ({"networks": ["broken:Steps"]}, "is the class Steps; it must be a spaces.extension.Network"),
    ({"algorithms": ["broken:no_outer"]}, "outer_lr, outer_optimizer"),
    ({"algorithms": ["broken:no_default"]}, "space.defaults['regression']: inner_lr, inner_steps"),
    ({"algorithms": ["broken:classes_only"]}, "broken:classes_only: is not for regression"),
    ({"networks": ["broken:network_no_kind"]}, "broken:network_no_kind: is not for regression"),
    (
        {"algorithms": ["broken:failing"]},
        "broken:failing on mlp: building it failed: ZeroDivisionError: division by zero "
        "({folder}/broken.py, line <return 1 / 0>)",
    ),
    (
        {"algorithms": ["broken:late_failing"]},
        "broken:late_failing on mlp: training for two episodes failed: IndexError: tuple index out "
        "of range ({folder}/broken.py, line <arguments[9]>)",
    ),
    (
        {"networks": ["broken:flat_network"]},
        "outputs of inputs (2, 3, 1) have the shape (2, 3); must be (2, 3, 1): (episodes, ",
    ),
    ({"task": "broken:no_kind"}, "kind: 'clustering': must be one of classification, regression"),
    ({"task": "broken:nothing"}, "load returned a NoneType without name, kind, input_shape"),
    ({"task": "broken:no_load"}, "load failed: ZeroDivisionError: "),
    (
        {"task": "broken:shape"},
        "problem.task: 'broken:shape': sample('train', 0, range(2)): support.inputs: has the shape "
        "(2, 3); must be (2, 3, 1)",
    ),
    ({"task": "broken:whole"}, "support.targets: is of torch.int64; must be of floating point"),
    ({"task": "broken:infinite"}, "support.inputs: not all of its numbers are finite"),
    ({"task": "broken:index"}, "index: [1, 2]: must be [0, 1], as asked for"),
    ({"task": "broken:random"}, "episode 1 is another one when it is drawn by itself"),
    (
        {"task": "broken:raising"},
        "sample('train', 0, range(2)) failed: KeyError: 'train' "
        "({folder}/broken.py, line <{}[split]>)",
    ),
    ({"task": "broken:only_test"}, "sample('test', 0, range(2)): is of type int; must be an"),
]


@pytest.mark.parametrize(("asked", "message"), CASES, ids=[str(asked) for asked, _ in CASES])
def test_a_mistake_is_named(
    fresh: None, tmp_path: Path, asked: dict[str, Any], message: str
) -> None:
    shutil.copy(EXTEND / "my_learners.py", tmp_path)
    (tmp_path / "broken.py").write_text(textwrap.dedent(BROKEN))
    lines = textwrap.dedent(BROKEN).splitlines()

    def number(found: re.Match[str]) -> str:
        return str(1 + [found[1] in line for line in lines].index(True))

    message = re.sub("<(.+)>", number, message).replace("{folder}", str(tmp_path))
    assert message in refusal(dict(asked), tmp_path)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("x = 1\n[][3]\n", "IndexError: list index out of range ({folder}/broken.py, line 2)"),
        ("def f(:\n", "SyntaxError: invalid syntax ({folder}/broken.py, line 1)"),
        ("import absent\n", "No module named 'absent' ({folder}/broken.py, line 1)"),
    ],
)
def test_a_module_that_fails_is_named(
    fresh: None, tmp_path: Path, source: str, message: str
) -> None:
    (tmp_path / "broken.py").write_text(source)
    found = refusal({"algorithms": ["broken:x"]}, tmp_path)
    assert "algorithms: 'broken:x': importing broken failed: " in found
    assert message.replace("{folder}", str(tmp_path)) in found


def test_labels_outside_of_the_ways_are_named(fresh: None, tmp_path: Path) -> None:
    """Also: an image task with a network for images, once its record says so."""
    (tmp_path / "broken.py").write_text(
        textwrap.dedent("""
            import torch
            from episodes import Task
            from episodes.episode import Episodes, Examples

            class Blots:
                name, kind, digest = "blots", "classification", "0"
                input_shape, outputs, train_classes = (1, 8, 8), 2, 9
                def __init__(self, label):
                    self.label = label
                def sample(self, split, seed, indices):
                    count = len(indices)
                    labels = torch.tensor([0, self.label]).repeat(count, 1)
                    def draw(n):
                        return Examples(torch.zeros(count, 2 * n, 1, 8, 8), labels.repeat(1, n))
                    classes = torch.arange(2).repeat(count, 1)
                    return Episodes(draw(3), draw(4), classes, torch.tensor(list(indices)))

            def task(label, **more):
                return Task("blots", "blots", "classification", lambda **_: Blots(label), **more)
            images, vectors, worse = task(1, images=True), task(1), task(2, images=True)
        """)
    )
    problem = {"shots": 3, "query_shots": 4, "ways": 2}
    conv = {"networks": ["conv4"], "space": {"conv4/depth": 3}}
    asked = {"problem": {"task": "broken:worse", **problem}, **conv}
    assert "support.targets: from 0 to 2; labels must be from 0 to 1" in refusal(asked, tmp_path)
    asked = {"problem": {"task": "broken:vectors", **problem}, **conv}
    assert "networks: 'conv4': needs images" in refusal(asked, tmp_path)
    extensions.resolve("task", "broken:images")
    assert TASKS["broken:images"].images


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

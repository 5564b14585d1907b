"""A mistake in a user's own extension is named, before anything is run."""

from __future__ import annotations

import re
import shutil
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from episodes import TASKS
from search import extensions
from tests.extending import EXTEND, fresh_process, refusal


@pytest.fixture
def fresh() -> Iterator[None]:
    with fresh_process():
        yield


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

    wrong_groups = replace(waves, space=replace(waves.space, grouped={"group": frozenset({2})}))

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
    ({"algorithms": ["broken:classes_only"]}, "'broken:classes_only': is not for regression"),
    ({"networks": ["broken:network_no_kind"]}, "'broken:network_no_kind': is not for regression"),
    ({"networks": ["broken:wrong_groups"]}, "space.grouped: group: must be a Choice or Fixed of"),
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

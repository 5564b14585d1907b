from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from episodes import TASKS, DataError, Option, load
from episodes.options import complete

DECLARED = (
    Option("noise", "number", "how noisy it is", 0.5, least=0, most=2),
    Option("length", "whole number", "how long it is", least=1),
    Option("scale", "switch", "whether it is scaled", True),
    Option("kind", "text", "what it is", "regression", choices=("regression", "classification")),
    Option("features", "names", "the columns"),
    Option("file", "path", "where it is", required=True),
)


def given(**options):
    return complete("mine", DECLARED, {"file": "/data/a.npz", **options})


def test_defaults_fill_what_is_not_given():
    assert given() == {
        "noise": 0.5,
        "scale": True,
        "kind": "regression",
        "file": "/data/a.npz",
    }


def test_values_come_in_one_form_and_stay_as_they_are(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    values = given(noise=1, length=3, scale=False, features="x", file=Path("a.npz"))
    assert values["noise"] == 1.0
    assert isinstance(values["noise"], float)
    assert values["features"] == ["x"]
    assert values["file"] == str(tmp_path / "a.npz")
    numpy = given(noise=np.float32(0.5), length=np.int64(3))
    assert {type(numpy["noise"]), type(numpy["length"])} == {float, int}
    assert given(features=("x", "y"))["features"] == ["x", "y"]
    assert complete("mine", DECLARED, json.loads(json.dumps(values))) == values
    assert list(values) == ["noise", "length", "scale", "kind", "features", "file"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"nois": 1}, "options.nois: mine has no such option: did you mean noise?"),
        ({"x": 1}, "options.x: mine has no such option: known: noise, length, scale, kind, "),
        ({"noise": "0.5"}, "options.noise: '0.5': must be a number, at least 0 and at most 2"),
        ({"noise": -1}, "options.noise: -1: must be a number, at least 0 and at most 2"),
        ({"noise": float("nan")}, "options.noise: nan: must be a number"),
        ({"noise": True}, "options.noise: true: must be a number"),
        ({"noise": None}, "options.noise: null: must be a number"),
        ({"length": 1.5}, "options.length: 1.5: must be a whole number, at least 1"),
        ({"length": 0}, "options.length: 0: must be a whole number, at least 1"),
        ({"scale": 1}, "options.scale: 1: must be true or false"),
        (
            {"kind": "regresion"},
            "options.kind: 'regresion': must be one of regression, classification "
            "(did you mean regression?)",
        ),
        ({"kind": ["regression"]}, "options.kind: ['regression']: must be one of regression, "),
        ({"features": []}, "options.features: []: must be a name, or a list of distinct ones"),
        ({"features": ["a", 1]}, "options.features: ['a', 1]: must be a name, or a list"),
        ({"features": ["a", "a"]}, "options.features: ['a', 'a']: a is listed twice"),
        ({"features": ["a" * 4001]}, "must have at most 4000 characters in all"),
        ({"file": ""}, "options.file: '': must be a path"),
        ({"file": 3}, "options.file: 3: must be a path"),
        (
            {"file": "~nosuchuser/x"},
            "options.file: '~nosuchuser/x': there is no such user as nosuchuser",
        ),
    ],
)
def test_what_is_wrong_is_named_with_what_would_be_right(options, message):
    with pytest.raises(DataError) as error:
        given(**options)
    assert message in str(error.value)


def test_every_problem_has_a_line():
    with pytest.raises(DataError) as error:
        complete("mine", DECLARED, {"noise": "x", "other": 1})
    first, second, third = str(error.value).splitlines()
    assert first.startswith("options.noise: 'x': ")
    assert second.startswith("options.other: mine has no such option")
    assert third == "options.file: missing: mine needs it: where it is"


def test_a_task_without_options_says_so():
    with pytest.raises(DataError, match=r"^options.noise: omniglot has no such option: leave it"):
        load("omniglot", ways=5, shots=1, query_shots=1, options={"noise": 0.1})


@pytest.mark.parametrize("task", ["harmonic", "sinusoid-line"])
def test_an_option_that_changes_the_data_changes_the_digest(task):
    usual = load(task, shots=5, query_shots=5)
    noisy = load(task, shots=5, query_shots=5, options={"noise": 2})
    assert noisy.digest != usual.digest
    default = {option.name: option.default for option in TASKS[task].options}
    assert load(task, shots=5, query_shots=5, options=default).digest == usual.digest
    drawn = [each.sample("test", 0, range(50)).query.targets for each in (usual, noisy)]
    assert abs(drawn[0] - drawn[1]).mean() > 1


@pytest.mark.parametrize(
    ("option", "expected", "usual"),
    [
        (DECLARED[0], "a number, at least 0 and at most 2", "default 0.5"),
        (DECLARED[1], "a whole number, at least 1", ""),
        (DECLARED[2], "true or false", "default true"),
        (DECLARED[3], "one of regression, classification", "default regression"),
        (DECLARED[4], "a name, or a list of distinct ones such as [x1, x2]", ""),
        (DECLARED[5], "a path", "required"),
        (Option("n", "number", "", 0.0), "a number", "default 0"),
    ],
)
def test_an_option_says_what_it_takes_and_what_is_usual(option, expected, usual):
    assert (option.expected, option.usual) == (expected, usual)


@pytest.mark.parametrize(
    ("task", "given", "kind"),
    [
        ("arrays", {}, "regression"),
        ("arrays", {"kind": "classification"}, "classification"),
        ("arrays", {"kind": ["x"]}, "regression"),
        ("sinusoid", {"kind": "classification"}, "regression"),
    ],
)
def test_an_option_named_kind_decides_the_kind_of_problem(task, given, kind):
    assert TASKS[task].kind_of(given) == kind

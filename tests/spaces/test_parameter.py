"""Parameters: what they accept, draw and refuse."""

from __future__ import annotations

import math
import pickle
from typing import Any

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spaces.errors import SpaceError
from spaces.parameter import Choice, Fixed, Float, Int, Parameter, parse, values_of

REALS = st.floats(1e-6, 1e6)
WHOLE = st.integers(1, 10_000)


def floats(ends: list[float], log: bool) -> Float:
    return Float(min(ends), max(ends), log)


def ints(ends: list[int], log: bool) -> Int:
    return Int(min(ends), max(ends), log)


PARAMETERS = st.one_of(
    st.builds(floats, st.lists(REALS, min_size=2, max_size=2), st.booleans()),
    st.builds(ints, st.lists(WHOLE, min_size=2, max_size=2), st.booleans()),
    st.builds(Choice, st.lists(st.text(), min_size=1, max_size=5, unique=True).map(tuple)),
    st.builds(Fixed, st.one_of(REALS, WHOLE, st.text(), st.booleans())),
)


@settings(deadline=None)
@given(PARAMETERS, st.integers(0, 2**32 - 1))
def test_a_drawn_value_is_contained(parameter: Parameter, seed: int) -> None:
    sampler = optuna.samplers.RandomSampler(seed=seed)
    trial = optuna.create_study(sampler=sampler).ask()
    assert parameter.contains(parameter.suggest(trial, "x"))


@settings(deadline=None)
@given(PARAMETERS)
def test_yaml_and_pickle_keep_a_parameter(parameter: Parameter) -> None:
    assert parse(parameter.to_yaml()) == parameter
    assert pickle.loads(pickle.dumps(parameter)) == parameter


@settings(deadline=None)
@given(PARAMETERS, st.one_of(st.floats(-1e9, 1e9), st.integers(-(10**9), 10**9)))
def test_the_closest_value_is_contained_and_keeps_what_is_allowed(
    parameter: Parameter, value: float
) -> None:
    assert parameter.contains(parameter.closest(value))
    if parameter.contains(value):
        assert parameter.closest(value) == value


def test_the_closest_value_is_the_nearest_one() -> None:
    assert Float(0.1, 0.5).closest(0.7) == 0.5
    assert Int(1, 5).closest(50) == 5
    assert Choice((4, 8, 32)).closest(25) == 32
    assert Choice(("pool", "stride")).closest("none") == "pool"
    assert Fixed(5).closest(1) == 5


@pytest.mark.parametrize(
    ("value", "parameter"),
    [
        (5, Fixed(5)),
        ("adam", Fixed("adam")),
        (True, Fixed(True)),
        ([16, 32], Choice((16, 32))),
        ({"low": 1, "high": 5}, Int(1, 5)),
        ({"low": 1, "high": 5, "log": True}, Int(1, 5, log=True)),
        ({"low": 0.1, "high": 1}, Float(0.1, 1.0)),
    ],
)
def test_parse_reads_the_type_from_the_form(value: Any, parameter: Parameter) -> None:
    parsed = parse(value)
    assert parsed == parameter
    assert [type(end) for end in values_of(parsed)] == [type(end) for end in values_of(parameter)]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([], "[]: a choice needs at least one option"),
        (["relu", "relu"], "['relu', 'relu']: an option is listed twice"),
        ([[1]], "[1]: must be a finite number, a word, true or false"),
        (None, "None: must be a finite number, a word, true or false"),
        (math.nan, "nan: must be a finite number, a word, true or false"),
        ({"low": 1}, "{'low': 1}: a range needs both low and high"),
        ({"low": 1, "hihg": 2}, "hihg: unknown key of a range: did you mean high?"),
        ({"low": "a", "high": 2}, "'a': the ends of a range must be numbers"),
        ({"low": True, "high": 2}, "True: the ends of a range must be numbers"),
        ({"low": 1, "high": math.inf}, "inf: the ends of a range must be numbers"),
        ({"low": 1, "high": 2, "log": 1}, "log: 1: must be true or false"),
        ({"low": 5, "high": 1}, "low 5, high 1: the range is empty; low must not be above high"),
        ({"low": 0, "high": 1, "log": True}, "low 0: must be above 0 on a log scale"),
        ({"low": -0.5, "high": 1, "log": True}, "low -0.5: must be above 0 on a log scale"),
    ],
)
def test_parse_says_what_is_wrong(value: Any, message: str) -> None:
    with pytest.raises(SpaceError) as error:
        parse(value)
    assert str(error.value) == message


def test_ranges_are_checked_wherever_they_are_made() -> None:
    with pytest.raises(SpaceError, match="the range is empty"):
        Float(1.0, 0.1)
    with pytest.raises(SpaceError, match="must be whole numbers"):
        Int(1.5, 3)  # type: ignore[arg-type]
    with pytest.raises(SpaceError, match="finite numbers"):
        Float(0.0, math.nan)


def test_true_is_no_number() -> None:
    assert not Int(0, 5).contains(True)
    assert not Float(0.0, 5.0).contains(True)
    assert not Int(0, 5).contains(2.0)


@pytest.mark.parametrize("make", [Float, Int])
@pytest.mark.parametrize("log", [False, True])
def test_a_scale_is_drawn_on_as_it_says(make: type[Float | Int], log: bool) -> None:
    parameter = make(1, 10_000, log)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    drawn = sorted(float(parameter.suggest(study.ask(), "x")) for _ in range(201))
    median = drawn[100]
    assert (30 < median < 300) if log else (4_000 < median < 6_000)

"""Declarative parameters: what values one hyperparameter or setting may take in a search."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from spaces.errors import SpaceError, nearest

Value = float | int | str | bool


class Trial(Protocol):
    """What is used of `optuna.trial.BaseTrial`."""

    def suggest_float(self, name: str, low: float, high: float, *, log: bool) -> float:
        """Draw a real number."""
        ...

    def suggest_int(self, name: str, low: int, high: int, *, log: bool) -> int:
        """Draw a whole number."""
        ...

    def suggest_categorical(self, name: str, choices: tuple[Any, ...]) -> Any:
        """Draw one of `choices`."""
        ...


@dataclass(frozen=True)
class Float:
    """A real number from low to high, both included; `log` samples its logarithm uniformly."""

    low: float
    high: float
    log: bool = False

    def __post_init__(self) -> None:
        _check_range(self.low, self.high, self.log)

    def suggest(self, trial: Trial, name: str) -> Value:
        """Let the trial choose a value."""
        return trial.suggest_float(name, self.low, self.high, log=self.log)

    def contains(self, value: object) -> bool:
        """Whether `value` is a number in the range."""
        return _is_number(value) and self.low <= value <= self.high  # type: ignore[operator]

    def closest(self, value: Value) -> Value:
        """Return the allowed value that is nearest to `value`."""
        return min(max(float(value), self.low), self.high)

    def to_yaml(self) -> Any:
        """Return what `parse` reads this parameter from."""
        return {"low": self.low, "high": self.high, "log": self.log}


@dataclass(frozen=True)
class Int:
    """A whole number from low to high, both included; `log` favours the small ones."""

    low: int
    high: int
    log: bool = False

    def __post_init__(self) -> None:
        if not (_is_whole(self.low) and _is_whole(self.high)):
            raise SpaceError(f"low {self.low}, high {self.high}: must be whole numbers")
        _check_range(self.low, self.high, self.log)

    def suggest(self, trial: Trial, name: str) -> Value:
        """Let the trial choose a value."""
        return trial.suggest_int(name, self.low, self.high, log=self.log)

    def contains(self, value: object) -> bool:
        """Whether `value` is a whole number in the range."""
        return _is_whole(value) and self.low <= value <= self.high  # type: ignore[operator]

    def closest(self, value: Value) -> Value:
        """Return the allowed value that is nearest to `value`."""
        return min(max(round(float(value)), self.low), self.high)

    def to_yaml(self) -> Any:
        """Return what `parse` reads this parameter from."""
        return {"low": self.low, "high": self.high, "log": self.log}


@dataclass(frozen=True)
class Choice:
    """One of several values without an order."""

    options: tuple[Value, ...]

    def __post_init__(self) -> None:
        if not self.options:
            raise SpaceError("[]: a choice needs at least one option")
        for option in self.options:
            _check_value(option)
        if len(set(self.options)) < len(self.options):
            raise SpaceError(f"{list(self.options)}: an option is listed twice")

    def suggest(self, trial: Trial, name: str) -> Value:
        """Let the trial choose a value."""
        return trial.suggest_categorical(name, self.options)

    def contains(self, value: object) -> bool:
        """Whether `value` is one of the options: 1 and 0 are not true and false."""
        return any(
            value == option and isinstance(value, bool) == isinstance(option, bool)
            for option in self.options
        )

    def closest(self, value: Value) -> Value:
        """Return `value` if it is an option, else the nearest number, else the first option."""
        if value in self.options:
            return value
        if _is_number(value) and all(_is_number(option) for option in self.options):
            return min(self.options, key=lambda option: abs(float(option) - float(value)))
        return self.options[0]

    def to_yaml(self) -> Any:
        """Return what `parse` reads this parameter from."""
        return list(self.options)


@dataclass(frozen=True)
class Fixed:
    """A value that is not searched."""

    value: Value

    def __post_init__(self) -> None:
        _check_value(self.value)

    def suggest(self, trial: Trial, name: str) -> Value:
        """Return the value; the trial is not asked."""
        return self.value

    def contains(self, value: object) -> bool:
        """Whether `value` is the fixed one."""
        return value == self.value

    def closest(self, value: Value) -> Value:
        """Return the fixed value."""
        return self.value

    def to_yaml(self) -> Any:
        """Return what `parse` reads this parameter from."""
        return self.value


@dataclass(frozen=True)
class Text:
    """Any text that is not empty: legal for a name that only a network knows; never searched."""

    def suggest(self, trial: Trial, name: str) -> Value:
        """Refuse: there is nothing to choose from."""
        raise SpaceError(f"{name}: give the texts to choose from")

    def contains(self, value: object) -> bool:
        """Whether `value` is such a text."""
        return isinstance(value, str) and bool(value.strip())

    def closest(self, value: Value) -> Value:
        """Return the value."""
        return value

    def to_yaml(self) -> Any:
        """Return nothing: it stands in no specification."""
        return None


Parameter = Float | Int | Choice | Fixed | Text


def parse(value: Any) -> Parameter:
    """Read a parameter from YAML.

    A scalar is `Fixed`, a list is a `Choice`, {low, high, log} is an `Int` when both ends are whole
    numbers, else a `Float`. Raises SpaceError on anything else.
    """
    if isinstance(value, Mapping):
        return _parse_range(value)
    if isinstance(value, list | tuple):
        return Choice(tuple(value))
    return Fixed(value)


def values_of(parameter: Parameter) -> tuple[Value, ...]:
    """Return the values that bound a parameter: a range's ends, all options, the fixed value."""
    if isinstance(parameter, Fixed):
        return (parameter.value,)
    if isinstance(parameter, Choice):
        return parameter.options
    if isinstance(parameter, Text):
        return ()
    return (parameter.low, parameter.high)


def _parse_range(value: Mapping[Any, Any]) -> Parameter:
    known = ("low", "high", "log")
    for key in value:
        if key not in known:
            raise SpaceError(f"{key}: unknown key of a range: {nearest(str(key), known)}")
    if "low" not in value or "high" not in value:
        raise SpaceError(f"{dict(value)}: a range needs both low and high")
    low, high, log = value["low"], value["high"], value.get("log", False)
    for end in (low, high):
        if not _is_number(end):
            raise SpaceError(f"{end!r}: the ends of a range must be numbers")
    if not isinstance(log, bool):
        raise SpaceError(f"log: {log!r}: must be true or false")
    if _is_whole(low) and _is_whole(high):
        return Int(low, high, log)
    return Float(float(low), float(high), log)


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: object) -> bool:
    return _is_whole(value) or (isinstance(value, float) and math.isfinite(value))


def _check_value(value: object) -> None:
    if not (isinstance(value, str | bool) or _is_number(value)):
        raise SpaceError(f"{value!r}: must be a finite number, a word, true or false")


def _check_range(low: float, high: float, log: bool) -> None:
    if not (_is_number(low) and _is_number(high)):
        raise SpaceError(f"low {low}, high {high}: the ends of a range must be finite numbers")
    if low > high:
        raise SpaceError(f"low {low}, high {high}: the range is empty; low must not be above high")
    if log and low <= 0:
        raise SpaceError(f"low {low}: must be above 0 on a log scale")

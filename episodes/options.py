"""The options of a task: what it declares, and how the values that a user gives are checked."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from pathlib import Path
from typing import Any, Literal

from episodes.errors import DataError
from episodes.folders import from_home

Type = Literal["number", "whole number", "switch", "text", "names", "path"]

MOST_CHARACTERS = 4000
"""Of a value: it is recorded as a parameter of a run, and trackers cut those that are longer."""


@dataclass(frozen=True)
class Option:
    """One thing that a user may choose about a task, beside ways, shots and the split.

    type: "number" (finite), "whole number", "switch" (true or false), "text", "names" (a text or a
        list of distinct ones, which reaches the task as a list), or "path" (a text, which reaches
        it as an absolute path; a relative one starts at the current folder).
    default: what the task gets when nothing is given; None for nothing at all.
    required: whether there is no default, and the user must give a value.
    choices: the texts that are legal; empty for any.
    least, most: the range of a number.
    """

    name: str
    type: Type
    description: str
    default: Any = None
    required: bool = False
    choices: tuple[str, ...] = ()
    least: float = -math.inf
    most: float = math.inf

    @property
    def expected(self) -> str:
        """What would be right, to follow on "must be"."""
        if self.choices:
            return f"one of {', '.join(self.choices)}"
        if self.type in ("number", "whole number"):
            return f"a {self.type}{self._range()}"
        return {
            "switch": "true or false",
            "text": "a text that is not empty",
            "names": "a name, or a list of distinct ones such as [x1, x2]",
            "path": "a path",
        }[self.type]

    @property
    def usual(self) -> str:
        """What holds when it is not given: "required", "default 0.3"; empty for nothing."""
        if self.required:
            return "required"
        if self.default is None:
            return ""
        if isinstance(self.default, float):
            return f"default {self.default:g}"
        if isinstance(self.default, list):
            return f"default {', '.join(self.default)}"
        shown = str(self.default).lower() if isinstance(self.default, bool) else self.default
        return f"default {shown}"

    def _range(self) -> str:
        ends = (
            [f"at least {self.least:g}"] * math.isfinite(self.least),
            [f"at most {self.most:g}"] * math.isfinite(self.most),
        )
        words = " and ".join(word for end in ends for word in end)
        return f", {words}" if words else ""


def complete(task: str, declared: Sequence[Option], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a task gets: the given values, checked, and the defaults of the others.

    A value that was returned may be given again, and stays as it is; options with neither a value
    nor a default are left out. Raises DataError with one line a problem, each of which names
    `options.NAME`, the value, and what would be right.
    """
    known = {option.name: option for option in declared}
    values, problems = {}, []
    for name, value in given.items():
        if name not in known:
            problems.append(
                f"options.{name[:60]}: {task} has no such option: {_right(name, known)}"
            )
            continue
        try:
            values[name] = _checked(known[name], value)
        except ValueError as error:
            problems.append(f"options.{name}: {_shown(value)}: {error}")
    for name, option in known.items():
        if name in given:
            continue
        if option.required:
            problems.append(f"options.{name}: missing: {task} needs it: {option.description}")
        elif option.default is not None:
            values[name] = option.default
    if problems:
        raise DataError("\n".join(problems))
    return {name: values[name] for name in known if name in values}


def _checked(option: Option, value: Any) -> Any:
    """Return a value in the form that tasks get. Raises ValueError, saying what would be right."""
    wrong = ValueError(f"must be {option.expected}")
    if option.type == "switch":
        if not isinstance(value, bool):
            raise wrong
        return value
    if option.type in ("number", "whole number"):
        # The numbers of numpy are such, too.
        right = isinstance(value, Integral if option.type == "whole number" else Real)
        if isinstance(value, bool) or not right:
            raise wrong
        if not math.isfinite(value) or not option.least <= value <= option.most:
            raise wrong
        return int(value) if option.type == "whole number" else float(value)
    if isinstance(value, Path) and option.type == "path":
        value = str(value)
    texts = list(value) if option.type == "names" and isinstance(value, list | tuple) else [value]
    if not texts or not all(isinstance(text, str) and text for text in texts):
        raise wrong
    if len(set(texts)) < len(texts):
        twice = next(text for i, text in enumerate(texts) if text in texts[:i])
        raise ValueError(f"{twice} is listed twice")
    if sum(map(len, texts)) > MOST_CHARACTERS:
        raise ValueError(f"must have at most {MOST_CHARACTERS} characters in all")
    if option.type == "names":
        return texts
    if option.choices and value not in option.choices:
        raise ValueError(f"must be {option.expected}{_nearest(value, option.choices)}")
    return str(from_home(value)) if option.type == "path" else value


def _right(name: str, known: Iterable[str]) -> str:
    names = list(known)
    close = difflib.get_close_matches(name, names, n=1)
    if close:
        return f"did you mean {close[0]}?"
    return f"known: {', '.join(names)}" if names else "leave it out"


def _nearest(value: str, choices: Iterable[str]) -> str:
    close = difflib.get_close_matches(value, list(choices), n=1)
    return f" (did you mean {close[0]}?)" if close else ""


def _shown(value: Any) -> str:
    if value is None:
        return "null"
    text = str(value).lower() if isinstance(value, bool) else repr(value)
    return text if len(text) <= 60 else text[:57] + "..."

"""Turns what pydantic finds wrong into lines that name the field, the value and what is right."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, ValidationError

from search.masking import masked
from search.plain_text import cut, visible
from spaces.errors import nearest

LINES_SHOWN = 20
SUCH_AS = {
    "problem": "such as {task: sinusoid, shots: 10, query_shots: 10}",
    "algorithms": "such as [maml, anil]",
    "networks": "such as [mlp]",
    "budget": "such as {trials: 20, episodes: 10000}",
}
LINE_CHARACTERS = 1000

_EXPECTED = {
    "int_type": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "string_type": "text",
    "list_type": "a list, such as [maml, anil]",
    "dict_type": "a mapping of keys to values",
    "model_type": "a mapping of keys to values",
    "too_short": "a list with at least one entry",
}


def lines(error: ValidationError, model: type[BaseModel]) -> list[str]:
    """Return one line a problem, at most 20; `model` is what was being validated."""
    found: list[str] = []
    for details in error.errors(include_url=False):
        found += _line(details, model).splitlines()
    more = len(found) - LINES_SHOWN
    shown = [cut(visible(masked(line)), LINE_CHARACTERS) for line in found[:LINES_SHOWN]]
    return [*shown, f"and {more} more"] if more > 0 else shown


def _line(details: Any, model: type[BaseModel]) -> str:
    location: Sequence[str | int] = details["loc"]
    if not location:
        return str(details["ctx"]["error"])
    key = ".".join(part for part in location if isinstance(part, str))
    kind, value = details["type"], _shown(details["input"])
    if kind == "extra_forbidden":
        known = _section(model, location).model_fields
        return f"{key}: unknown key: {nearest(str(location[-1]), known)}"
    if kind == "missing":
        such_as = SUCH_AS.get(key)
        return f"{key}: missing: a specification must have it" + (f", {such_as}" if such_as else "")
    if kind == "string_too_long":
        return f"{key}: {value}: must have at most {details['ctx']['max_length']} characters"
    if kind == "value_error":
        return f"{key}: {value}: {details['ctx']['error']}"
    if kind == "greater_than_equal":
        return f"{key}: {value}: must be at least {details['ctx']['ge']}"
    if kind == "less_than_equal":
        return f"{key}: {value}: must be at most {_number(details['ctx']['le'])}"
    if kind == "greater_than":
        return f"{key}: {value}: must be above {details['ctx']['gt']:g}"
    if kind in _EXPECTED:
        return f"{key}: {value}: must be {_EXPECTED[kind]}"
    return f"{key}: {value}: {details['msg']}"


def _number(value: float) -> str:
    return str(int(value)) if value % 1 == 0 else str(value)


def _section(model: type[BaseModel], location: Sequence[str | int]) -> type[BaseModel]:
    """Return the model that the last part of a location is a key of."""
    for part in location[:-1]:
        annotation = model.model_fields[str(part)].annotation
        assert isinstance(annotation, type)
        assert issubclass(annotation, BaseModel)
        model = annotation
    return model


def _shown(value: object) -> str:
    if value is None:
        return "null"
    text = str(value).lower() if isinstance(value, bool) else repr(value)
    return cut(masked(text), 60)

"""Checking that what a user gave is a whole number, of Python or of numpy."""

from __future__ import annotations

from numbers import Integral
from typing import Any

from episodes.errors import DataError


def whole_number(name: str, value: Any, least: int | None = None) -> int:
    """Return a whole number as Python's. Raises DataError, naming it, for anything else.

    least: the smallest that is allowed; None for any.
    """
    right = isinstance(value, Integral) and not isinstance(value, bool)
    if not right or (least is not None and value < least):
        bound = "" if least is None else f", at least {least}"
        raise DataError(f"{name}: {value!r}: must be a whole number{bound}")
    return int(value)

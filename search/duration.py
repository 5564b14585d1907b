"""Durations as people write them."""

from __future__ import annotations

import math
import re

_NUMBER = r"(\d+(?:\.\d*)?)"
_UNITS = re.compile(rf"(?=.)(?:{_NUMBER}h)?(?:{_NUMBER}m)?(?:{_NUMBER}s)?")
_SECONDS = (3600.0, 60.0, 1.0)


def seconds(value: object) -> float:
    """Return the seconds in `150`, "150s", "8m" or "1h30m". Raises ValueError on anything else."""
    wrong = ValueError('must be a time above 0, such as 150, "150s", "8m" or "1h30m"')
    if isinstance(value, str):
        match = _UNITS.fullmatch(value)
        if match is None:
            raise wrong
        parts = [float(part or 0) for part in match.groups()]
        total = sum(part * unit for part, unit in zip(parts, _SECONDS, strict=True))
    elif isinstance(value, int | float) and not isinstance(value, bool):
        total = float(value)
    else:
        raise wrong
    if not (math.isfinite(total) and total > 0):
        raise wrong
    return total

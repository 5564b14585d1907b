"""Durations as people write them."""

from __future__ import annotations

import math

import pytest

from search.duration import seconds


@pytest.mark.parametrize(
    ("value", "expected"),
    [(150, 150), (0.5, 0.5), ("150s", 150), ("8m", 480), ("1h30m", 5400), ("1.5h", 5400)],
)
def test_a_duration_is_read(value: object, expected: float) -> None:
    assert seconds(value) == expected


@pytest.mark.parametrize(
    "value", ["", "150", "8 m", "1h30", "30m1h", "m", "-8m", "0s", 0, -1, True, math.inf, math.nan]
)
def test_anything_else_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match='must be a time above 0, such as 150, "150s", "8m"'):
        seconds(value)

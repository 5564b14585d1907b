"""How long to wait before trying again what a store did not take."""

from __future__ import annotations

FIRST_WAIT, LONGEST_WAIT = 1.0, 30.0
DOUBLINGS = 10


def wait_after(failures: int) -> float:
    """Return seconds: twice as many after each failure in a row, from 1 up to 30."""
    return min(FIRST_WAIT * 2 ** min(failures - 1, DOUBLINGS), LONGEST_WAIT)

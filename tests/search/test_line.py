"""How many trials may wait: enough for a cluster to grow, no more where it cannot."""

from __future__ import annotations

import pytest

from search.line import AT_ONCE, FIRST, MOST, PATIENCE, Line
from tests.search.conducting import Clock


def joined(line: Line, *, running: int = 0, free: int = 0, nodes: int = 1, waiting: int = 0) -> int:
    """Let as many join as may, in as many steps as that takes; return how many wait then."""
    while True:
        line.seen(waiting=waiting, running=running)
        before = waiting
        while line.is_open(held=0, free=free, nodes=nodes):
            line.joins()
            waiting += 1
        if waiting == before:
            return waiting


@pytest.mark.parametrize("free", [0, 1, 8, 300])
def test_a_machine_alone_is_filled_and_one_waits(free: int) -> None:
    assert joined(Line(False, None), free=free) == free + 1
    assert joined(Line(False, 40), free=free, running=100) == free + 1


def test_a_cluster_that_may_grow_is_asked_for_as_many_again_as_run() -> None:
    line = Line(True, None)
    grown = [joined(line, running=running) for running in (0, 10, 50, 200, 1000)]
    assert grown == [FIRST, FIRST, 50, 200, MOST]
    assert joined(line, running=50, free=7) == 57


def test_a_search_that_says_how_many_it_runs_at_once_asks_for_them_all() -> None:
    assert joined(Line(True, 100)) == 100
    assert joined(Line(True, 10 * MOST)) == MOST


def test_where_a_cluster_grows_no_more_one_waits() -> None:
    clock = Clock()
    line = Line(True, 100, clock)
    assert joined(line, nodes=4) == 100
    clock.now += PATIENCE - 1
    assert joined(line, nodes=4) == 100
    clock.now += 1
    assert joined(line, nodes=4) == 1
    # A node that comes back is no growth, one more than ever there is.
    assert joined(line, nodes=3) == 1
    assert joined(line, nodes=4) == 1
    assert joined(line, nodes=5) == 100


def test_those_that_wait_already_count() -> None:
    line = Line(True, None)
    line.seen(waiting=FIRST - 1, running=0)
    assert line.is_open(held=0, free=0, nodes=1)
    assert not line.is_open(held=1, free=0, nodes=1)
    line.joins()
    assert not line.is_open(held=0, free=0, nodes=1)
    assert line.is_open(held=0, free=1, nodes=1)


def test_what_runs_is_heard_before_too_many_have_joined() -> None:
    line = Line(True, 100)
    line.seen(waiting=0, running=0)
    for _ in range(AT_ONCE):
        assert line.is_open(held=0, free=0, nodes=1)
        line.joins()
    assert not line.is_open(held=0, free=0, nodes=1)

"""The trials that wait for room on a node, and how many more may join them. Knows no Ray.

What waits is what an autoscaler sees, so that a cluster which grows wants many to wait. But a trial
is chosen when it joins, by what was known then, and so none should wait in vain.
"""

from __future__ import annotations

import time
from collections.abc import Callable

FIRST = 16
"""So many may wait on a cluster that may grow, whatever it has now."""

MOST = 256
"""Of those that wait without room at the most: more than what clusters start at once."""

PATIENCE = 900.0
"""Seconds. A machine takes minutes to start and to install what it lacks. A cluster that has not
grown for so long while trials wait is as large as it can be."""

AT_ONCE = 16
"""So many join before what runs is heard again: each suggestion takes some 0.1 s."""


class Line:
    """Tells whether another trial may wait.

    elastic: whether the cluster may grow; a machine that stands alone does not.
    concurrency: what the search is to run at once, where that is known; it bounds the line no
        further here, since the conductor hands out no more.
    """

    def __init__(
        self,
        elastic: bool,
        concurrency: int | None,
        clock: Callable[[], float] = time.monotonic,
    ):
        self._elastic = elastic
        self._concurrency = concurrency or 0
        self._clock = clock
        self._waiting = self._joined = self._most_nodes = 0
        self.running = 0
        self._grew = clock()

    def seen(self, *, waiting: int, running: int) -> None:
        """Take note of how many wait for room and have it, those included that joined before."""
        self._waiting, self.running, self._joined = waiting, running, 0

    def joins(self) -> None:
        """Take note that a trial waits from now on."""
        self._joined += 1

    def is_open(self, *, held: int, free: int, nodes: int) -> bool:
        """Return whether another trial may join.

        held: trials that wait for something else than room. free: trials that nodes have room for
            now. nodes: how many there are.
        """
        waiting = self._waiting + self._joined + held
        return self._joined < AT_ONCE and waiting < free + self._ahead(nodes)

    def _ahead(self, nodes: int) -> int:
        if not self._elastic:
            return 1
        if nodes > self._most_nodes:
            self._most_nodes, self._grew = nodes, self._clock()
        if self._clock() - self._grew >= PATIENCE:
            # One still waits, so that a cluster which can grow after all does.
            return 1
        # As many again as run: a cluster of any size is reached in a few steps.
        return min(MOST, max(FIRST, self.running, self._concurrency))

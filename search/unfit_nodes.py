"""The nodes that turn out, once a search runs, not to be able to run its trials. Knows no Ray."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection

from search.line import PATIENCE


class UnfitNodes:
    """Remembers which nodes are unfit and why, and tells when there is no other to hope for.

    elastic: whether the cluster may grow, and so bring a node that is fit.
    """

    def __init__(self, elastic: bool, clock: Callable[[], float] = time.monotonic):
        self._elastic = elastic
        self._clock = clock
        self._reasons: dict[str, str] = {}
        self._since: float | None = None

    @property
    def ids(self) -> list[str]:
        """Those of the nodes, in one order: what is asked of Ray for trials stays equal."""
        return sorted(self._reasons)

    def found(self, node: str, reason: str) -> bool:
        """Take note that a node is unfit; return whether that is news."""
        if self._since is None:
            self._since = self._clock()
        is_new = node not in self._reasons
        self._reasons.setdefault(node, reason)
        return is_new

    def why_hopeless(self, with_room: Collection[str]) -> str:
        """Return why no trial can be run; "" as long as one can, or a fit node may still come.

        A cluster that has brought unfit nodes alone for `PATIENCE` seconds, since the first of
        them, will bring no other. One that only lost those that were fit is waited for.
        with_room: ids of the nodes there are which, once empty, have what the next trial asks for.
        """
        if set(with_room) - self._reasons.keys():
            self._since = None
        if self._since is None:
            return ""
        if self._elastic and self._clock() - self._since < PATIENCE:
            return ""
        return "\n".join(self._reasons.values())

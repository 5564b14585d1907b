"""What runs in one process where the tests run in several."""

from __future__ import annotations

import re

from xdist.scheduler import LoadScopeScheduling

FAULTS = "tests/faults/test_faults.py"
CLUSTERS = re.compile(r"tests/test_(submit|cluster_run)\.py|.*\[(worker-killed|head-gone)")


class Together(LoadScopeScheduling):
    """Keeps the tests of a file in one process: they share fixtures.

    Faults, which take long and share nothing, go one by one. What starts clusters stays together:
    of two that start at once on one machine, one may find its ports taken.
    """

    def _split_scope(self, nodeid: str) -> str:
        if CLUSTERS.match(nodeid):
            return "clusters"
        return nodeid if nodeid.startswith(FAULTS) else nodeid.partition("::")[0]

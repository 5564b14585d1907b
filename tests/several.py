"""What runs in one process where the tests run in several, what is begun with, and until when."""

from __future__ import annotations

import os
import re
import time

from xdist.scheduler import LoadScopeScheduling

FAULTS = "tests/faults/test_faults.py"
CLUSTERS = re.compile(
    r"tests/(test_(submit|cluster_run)|search/test_late_nodes)\.py|.*\[(worker-killed|head-gone|cluster)"
)

LONG = (
    f"{FAULTS}::test_the_whole_table[disk-full-for-long]",
    "tests/benchmarks/test_scale_ray.py",
    "tests/faults/test_store_away.py",
    "tests/test_submit.py",
    "tests/test_cluster_run.py",
    FAULTS,
    "tests/faults/test_secrets.py",
    "tests/test_readme.py",
    "tests/test_interruption.py",
    "tests/test_end_to_end.py",
    "tests/test_stores.py",
    "tests/search/test_scale_simulation.py",
)
"""What takes a minute and more, by how its name begins: begun with last, it would run alone at the
end."""


def rank(nodeid: str) -> int:
    """Return when a test is to be begun with: lower first."""
    starts = (place for place, start in enumerate(LONG) if nodeid.startswith(start))
    return next(starts, len(LONG))


def too_late() -> bool:
    """Whether it is later than BEGIN_BEFORE, if that is set, in seconds since 1970."""
    return time.time() > float(os.environ.get("BEGIN_BEFORE", "inf"))


class Together(LoadScopeScheduling):
    """Keeps the tests of a file in one process: they share fixtures.

    Faults, which take long and share nothing, go one by one. What starts clusters stays together:
    of two that start at once on one machine, one may find its ports taken.
    """

    def _split_scope(self, nodeid: str) -> str:
        if CLUSTERS.match(nodeid):
            return "clusters"
        return nodeid if nodeid.startswith(FAULTS) else nodeid.partition("::")[0]

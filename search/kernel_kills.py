"""What the Linux kernel tells of the processes that it killed for lack of memory."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

BOOT = Path("/proc/sys/kernel/random/boot_id")
COUNTERS = Path("/proc/vmstat")
COUNTER = "oom_kill"


@dataclass(frozen=True)
class KernelKills:
    """How many processes a kernel has killed for lack of memory since it was started.

    Those count that hit the limit of a container or another control group, too. Whose they were
    it tells nobody but the superuser.
    boot: names the kernel that was started; containers on one machine share it.
    """

    boot: str
    count: int

    @classmethod
    def here(cls) -> KernelKills | None:
        """Return what this machine's kernel tells; None where it is not Linux."""
        try:
            counters = dict(line.split() for line in COUNTERS.read_text().splitlines())
            return cls(BOOT.read_text().strip(), int(counters[COUNTER]))
        except (OSError, ValueError, KeyError):
            return None

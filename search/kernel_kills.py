"""What the Linux kernel tells of the processes that it killed for lack of memory."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

PROC = Path("/proc")
COUNTER = "oom_kill"
EVENTS_2, EVENTS_1 = "memory.events", "memory.oom_control"


@dataclass(frozen=True)
class KernelKills:
    """How many processes the kernel has killed for lack of memory.

    boot: names the kernel that was started; containers on one machine share it.
    counter: whose processes count: those of this process's own control group, which a container
        has for itself, or, where no group counts, those of the whole machine, whoever's they are.
        Only counts of one counter can be compared.
    """

    boot: str
    counter: str
    count: int

    @classmethod
    def here(cls) -> KernelKills | None:
        """Return what this machine's kernel tells; None where it is not Linux."""
        try:
            boot = (PROC / "sys/kernel/random/boot_id").read_text().strip()
        except OSError:
            return None
        for file in _of_groups():
            try:
                # By number, too: every container may see its own group under one and the same name.
                return cls(boot, f"{file} of group {file.parent.stat().st_ino}", _count(file))
            except (OSError, ValueError, KeyError):
                continue
        machine = PROC / "vmstat"
        try:
            return cls(boot, str(machine), _count(machine))
        except (OSError, ValueError, KeyError):
            return None


def _count(file: Path) -> int:
    return int(dict(line.split() for line in file.read_text().splitlines())[COUNTER])


def _of_groups() -> Iterator[Path]:
    """List where the groups of this process may count, by the version of control groups."""
    try:
        groups = (PROC / "self/cgroup").read_text().splitlines()
        mounts = (PROC / "self/mountinfo").read_text().splitlines()
    except OSError:
        return
    for line in groups:
        number, controllers, group = line.split(":", 2)
        version_2 = number == "0" and not controllers
        if not (version_2 or "memory" in controllers.split(",")):
            continue
        for mount in mounts:
            own, _, of = mount.partition(" - ")
            kind, _, options = of.split(" ", 2)
            memory = kind == "cgroup" and "memory" in options.split(",")
            if kind != "cgroup2" if version_2 else not memory:
                continue
            root, point = (_plain(field) for field in own.split(" ")[3:5])
            path = PurePosixPath(group)
            if path.is_relative_to(root) and ".." not in path.parts:
                name = EVENTS_2 if version_2 else EVENTS_1
                yield Path(point) / path.relative_to(root) / name


def _plain(field: str) -> str:
    r"""Return a field of mountinfo, where a space is written as \040."""
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), field)

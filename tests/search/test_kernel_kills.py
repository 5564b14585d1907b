"""Which of the kernel's counters of processes killed for lack of memory is read."""

from __future__ import annotations

from pathlib import Path

import pytest

from search import kernel_kills
from search.kernel_kills import KernelKills


class Machine:
    """A /proc and a /sys/fs/cgroup of the test's own."""

    def __init__(self, folder: Path) -> None:
        self.proc, self.groups = folder / "proc", folder / "groups"
        self.write(self.proc / "sys/kernel/random/boot_id", "4f2a\n")
        self.write(self.proc / "vmstat", "nr_free_pages 12\noom_kill 5\n")
        self.write(self.proc / "self/cgroup", "")
        self.write(self.proc / "self/mountinfo", "")

    def write(self, file: Path, content: str) -> Path:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)
        return file

    def version_2(self, path: str, *, root: str = "/") -> None:
        self.write(self.proc / "self/cgroup", f"0::{path}\n")
        self.mounted(self.groups, root, "cgroup2 cgroup2 rw")

    def version_1(self, path: str, *, root: str = "/") -> None:
        """Version 1, beside a version 2 that counts no memory."""
        lines = ["5:cpu,cpuacct:/elsewhere", f"4:memory:{path}", "0::/"]
        self.write(self.proc / "self/cgroup", "\n".join(lines))
        self.mounted(self.groups / "cpu", "/", "cgroup cgroup rw,cpu,cpuacct")
        self.mounted(self.groups / "memory", root, "cgroup cgroup rw,memory")
        self.mounted(self.groups / "unified", "/", "cgroup2 cgroup2 rw")

    def mounted(self, where: Path, root: str, what: str) -> None:
        escaped = str(where).replace(" ", "\\040")
        with (self.proc / "self/mountinfo").open("a") as stream:
            stream.write(f"35 31 0:32 {root} {escaped} rw,relatime shared:9 - {what}\n")


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    made = Machine(tmp_path / "a machine")
    monkeypatch.setattr(kernel_kills, "PROC", made.proc)
    return made


def here() -> KernelKills:
    found = KernelKills.here()
    assert found is not None
    assert found.boot == "4f2a"
    return found


EVENTS = "low 0\nhigh 0\nmax 31\noom 4\noom_kill 2\noom_group_kill 0\n"
CONTROL = "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n"


def test_where_the_kernel_tells_nothing_nothing_is_known(machine: Machine) -> None:
    (machine.proc / "vmstat").unlink()
    assert KernelKills.here() is None


def test_without_a_group_the_whole_machine_counts(machine: Machine) -> None:
    assert (here().counter, here().count) == (str(machine.proc / "vmstat"), 5)


def test_version_2(machine: Machine) -> None:
    machine.version_2("/user.slice/a job")
    file = machine.write(machine.groups / "user.slice/a job/memory.events", EVENTS)
    machine.write(machine.groups / "memory.events", "oom_kill 77\n")
    assert here().count == 2
    assert here().counter.startswith(str(file))


def test_the_root_of_version_2_counts_nothing_itself(machine: Machine) -> None:
    machine.version_2("/")
    assert here().count == 5


def test_version_1(machine: Machine) -> None:
    machine.version_1("/docker/b3")
    machine.write(machine.groups / "memory/docker/b3/memory.oom_control", CONTROL)
    machine.write(machine.groups / "memory/memory.oom_control", "oom_kill 77\n")
    assert here().count == 3


def test_a_container_that_is_told_its_path_on_the_host(machine: Machine) -> None:
    """Without a namespace for groups, its own group is mounted as if it were the root."""
    machine.version_1("/docker/b3", root="/docker/b3")
    machine.write(machine.groups / "memory/memory.oom_control", CONTROL)
    assert here().count == 3


def test_a_group_that_is_not_mounted_here(machine: Machine) -> None:
    machine.version_2("/../another", root="/")
    machine.write(machine.groups / "memory.events", EVENTS)
    assert here().count == 5


def test_the_group_of_another_container(machine: Machine) -> None:
    machine.version_1("/docker/c4", root="/docker/b3")
    machine.write(machine.groups / "memory/memory.oom_control", CONTROL)
    assert here().count == 5


def test_an_old_kernel_whose_groups_count_no_kills(machine: Machine) -> None:
    machine.version_1("/docker/b3")
    machine.write(machine.groups / "memory/docker/b3/memory.oom_control", "under_oom 0\n")
    assert here().count == 5


def test_two_groups_of_one_name_are_told_apart(machine: Machine) -> None:
    """Every container may see its own as the root, and one may be made anew under its old name."""
    machine.version_2("/")
    file = machine.write(machine.groups / "memory.events", EVENTS)
    first = here()
    (machine.groups / "memory.events").unlink()
    machine.groups.rename(machine.groups.with_name("old"))
    machine.write(file, EVENTS)
    assert here().counter != first.counter

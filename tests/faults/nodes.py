"""Faults of nodes: a worker node is killed; the head is, and a new one takes over."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.cli import free_port, session_members, started, wait_until
from tests.faults.audit import Audit, audit, audit_kept, kept
from tests.faults.network import Host, hosts
from tests.faults.processes import attempts
from tests.faults.setting import NAME, Setting, spec
from tests.faults.stores import LONG, cluster_stores, crash, told_of_crashes

RAY = str(Path(sys.executable).with_name("ray"))
TOKEN = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0123456789abcdef" * 2}
# Of a head that is gone, Ray's processes take a minute to be sure; here, less. With too little,
# the nodes of a busy machine give up a head that is there.
HASTY = {"RAY_gcs_rpc_server_reconnect_timeout_s": "20"}


@dataclass
class Node:
    """A `ray start` process with all that it started."""

    process: subprocess.Popen[str]

    def kill(self) -> None:
        """End all of it at once, as a loss of power would."""
        for pid in session_members(self.process):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()

    def is_gone(self) -> bool:
        """Whether nothing of it runs any more, but for what never does work for a search."""
        agents = {"ray::DashboardA", "ray::RuntimeEnv"}
        return set(session_members(self.process).values()) <= agents


@contextmanager
def node(
    folder: Path, host: Host, *arguments: str, environment: Mapping[str, str] = TOKEN
) -> Iterator[Node]:
    """Start a node on a host, and wait until its raylet is up."""
    folder.mkdir(parents=True, exist_ok=True)
    options = ["--block", f"--node-ip-address={host.address}", "--disable-usage-stats"]
    command = (*host.command, RAY, "start", *arguments, *options)
    with started(folder=folder, command=command, environment=environment) as process:
        yield Node(process)


@contextmanager
def head(
    setting: Setting, host: Host, temporary: str, environment: Mapping[str, str] = {}
) -> Iterator[Node]:
    """Start a head that runs no trials, and tell the commands of it."""
    port = free_port()
    arguments = ["--head", f"--port={port}", "--num-cpus=0", "--include-dashboard=false"]
    arguments.append(f"--temp-dir={temporary}")
    with node(
        setting.folder / "head", host, *arguments, environment={**TOKEN, **environment}
    ) as running:
        address = f"{host.address}:{port}"
        setting.environment |= {"RAY_ADDRESS": address, **TOKEN, **environment}
        wait_until(lambda: len(_raylets(temporary)) == 1, 180, "a Ray head")
        yield running


def _raylets(temporary: str) -> list[Path]:
    """Return the logs of the nodes that are up, or have been: all write where the head does."""
    found = (Path(temporary) / "session_latest" / "logs").glob("raylet*.out")
    return [log for log in found if "Raylet" in log.read_text()]


@contextmanager
def worker(setting: Setting, host: Host, number: int, temporary: str) -> Iterator[Node]:
    """Start a node with room for one trial.

    It is waited for: of two that start at once on one machine, one may find its ports taken.
    """
    arguments = [f"--address={setting.environment['RAY_ADDRESS']}", "--num-cpus=1"]
    folder = setting.folder / f"worker-{number}"
    before = len(_raylets(temporary))
    with node(folder, host, *arguments, environment=setting.environment) as running:
        wait_until(lambda: len(_raylets(temporary)) > before, 180, "a worker node")
        yield running


def worker_killed(setting: Setting) -> Audit:
    """SIGKILL the node that runs a trial, in a cluster of three on one address."""
    return _worker_killed(setting, [Host()] * 3)


def worker_killed_in_network(setting: Setting) -> Audit:
    """The same with every node in a network namespace of its own."""
    with hosts(3) as own:
        return _worker_killed(setting, own)


def _worker_killed(setting: Setting, places: list[Host]) -> Audit:
    setting.write(spec(3, 2))
    # Sockets lie in here, whose paths may have no more than 107 characters.
    with (
        tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp") as temporary,
        cluster_stores(setting, places[0].servers),
        head(setting, places[0], temporary),
        worker(setting, places[1], 1, temporary) as first,
        worker(setting, places[2], 2, temporary) as second,
        setting.started(*setting.search(), prefix=places[0].command) as driver,
    ):
        setting.wait_sealed(0, 2, 180)
        [victim] = [n for n in (first, second) if _runs(n, setting.trial(0))]
        before = kept(setting.left)
        victim.kill()
        output, _ = driver.communicate(timeout=280)
        found = audit(setting.left, 3, repeat=(0, 1))
        audit_kept(found, setting.left, before, interrupted=(0,))
    found.expect(driver.returncode == 0, output[-2000:])
    found.expect(attempts(setting, 0) > 1, "the trial did not go on elsewhere")
    return found


def cluster(setting: Setting) -> Audit:
    """All that may go wrong in a cluster, in one search, with every node on one address."""
    return _cluster(setting, [Host()] * 3)


def cluster_in_network(setting: Setting) -> Audit:
    """The same with every node in a network namespace of its own."""
    with hosts(3) as own:
        return _cluster(setting, own)


def _cluster(setting: Setting, places: list[Host]) -> Audit:
    """Kill a worker, crash PostgreSQL and kill the head, each in the midst of a trial."""
    setting.write(spec(4, 2, budget={"episodes": LONG}))
    with ExitStack() as stack:
        database = stack.enter_context(cluster_stores(setting, places[0].servers))
        with tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp") as temporary:
            old = stack.enter_context(head(setting, places[0], temporary, HASTY))
            with (
                worker(setting, places[1], 1, temporary) as first,
                worker(setting, places[2], 2, temporary) as second,
                setting.started(*setting.search(), prefix=places[0].command) as driver,
            ):
                setting.wait_sealed(0, 2, 180)
                workers = (first, second)
                [victim] = [n for n in workers if _runs(n, setting.trial(0))]
                [orphan] = [n for n in workers if n is not victim]
                killed = kept(setting.left)
                victim.kill()
                setting.wait_sealed(2, 1)
                crash(setting, database, 2)
                setting.wait_sealed(3, 1)
                old.kill()
                wait_until(orphan.is_gone, 120, "the end of a worker without a head")
                output, _ = driver.communicate(timeout=120)
        before = kept(setting.left)
        with tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp") as temporary:
            stack.enter_context(head(setting, places[0], temporary))
            stack.enter_context(worker(setting, places[1], 3, temporary))
            with setting.started("resume", NAME, prefix=places[0].command) as again:
                said, _ = again.communicate(timeout=280)
        found = audit(setting.left, 4, repeat=(0, 1, 2, 3))
        audit_kept(found, setting.left, killed, interrupted=(0,))
        audit_kept(found, setting.left, before, interrupted=(3,))
        told_of_crashes(found, database, 1, output)
    found.expect(driver.returncode != 0, output[-2000:])
    found.expect(again.returncode == 0, said[-2000:])
    for number in (0, 3):
        found.expect(attempts(setting, number) > 1, f"trial {number} did not go on elsewhere")
    return found


def head_gone(setting: Setting) -> Audit:
    """SIGKILL the head: workers and driver stop by themselves, and a new head goes on."""
    setting.write(spec(2, 1))
    with cluster_stores(setting), ExitStack() as stack:
        with tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp") as temporary:
            old = stack.enter_context(head(setting, Host(), temporary, HASTY))
            with (
                worker(setting, Host(), 1, temporary) as orphan,
                setting.started(*setting.search()) as driver,
            ):
                setting.wait_sealed(0, 1, 180)
                old.kill()
                wait_until(orphan.is_gone, 120, "the end of a worker without a head")
                wait_until(lambda: driver.poll() is not None, 120, "the end of its driver")
        before = kept(setting.left)
        with tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp") as temporary:
            stack.enter_context(head(setting, Host(), temporary))
            stack.enter_context(worker(setting, Host(), 2, temporary))
            done = setting.run("resume", NAME)
        found = audit(setting.left, 2, repeat=(0,))
        audit_kept(found, setting.left, before, interrupted=(0,))
    found.expect(done.code == 0, done.output[-2000:])
    return found


def _runs(candidate: Node, trial: Path) -> bool:
    """Whether a node runs a trial: the trial's newest attempt names its process."""
    newest = max((trial / "attempts").glob("*.json"))
    found = re.search(r'"pid": (\d+)', newest.read_text())
    return found is not None and int(found[1]) in session_members(candidate.process)

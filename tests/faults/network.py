"""Hosts of our own on one machine: network namespaces on a bridge."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

NETWORK = "10.77.{third}.{host}"


@dataclass(frozen=True)
class Host:
    """Where a process runs.

    command: what to put before a command to run it there.
    servers: the address at which it reaches servers of this machine.
    """

    address: str = "127.0.0.1"
    command: tuple[str, ...] = ()
    servers: str = "127.0.0.1"


@contextmanager
def hosts(count: int) -> Iterator[list[Host]]:
    """Make namespaces that see each other and the bridge. Raises PermissionError if not allowed."""
    third = os.getpid() % 250 + 1
    bridge, gateway = f"ms{third}", NETWORK.format(third=third, host=1)
    made: list[str] = []
    try:
        _ip("link", "add", bridge, "type", "bridge")
        _ip("address", "add", f"{gateway}/24", "dev", bridge)
        _ip("link", "set", bridge, "up")
        found = []
        for number in range(count):
            name, address = f"{bridge}-{number}", NETWORK.format(third=third, host=number + 2)
            _ip("netns", "add", name)
            made.append(name)
            outside = f"{bridge}v{number}"
            _ip("link", "add", outside, "type", "veth", "peer", "name", "eth0", "netns", name)
            _ip("link", "set", outside, "master", bridge, "up")
            inside = ("netns", "exec", name, "ip")
            _ip(*inside, "address", "add", f"{address}/24", "dev", "eth0")
            _ip(*inside, "link", "set", "eth0", "up")
            _ip(*inside, "link", "set", "lo", "up")
            found.append(Host(address, ("ip", "netns", "exec", name), gateway))
        yield found
    finally:
        for name in made:
            subprocess.run(["ip", "netns", "delete", name], check=False)
        subprocess.run(["ip", "link", "delete", bridge], check=False, capture_output=True)


def _ip(*arguments: str) -> None:
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise PermissionError(f"ip {' '.join(arguments)}: {done.stderr.strip()}")

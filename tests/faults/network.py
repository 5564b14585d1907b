"""Hosts of our own on one machine: network namespaces on a bridge."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from tests.faults.machine import NotAllowedError, allowed

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
    """Make namespaces that see each other and the bridge.

    Raises NotAllowedError where this machine does not allow it.
    """
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
        for arguments in (
            *(("netns", "delete", name) for name in made),
            ("link", "delete", bridge),
        ):
            with suppress(NotAllowedError):  # What was found in the block counts, not this.
                _ip(*arguments)


def _ip(*arguments: str) -> None:
    allowed("ip", *arguments)

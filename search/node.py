"""Whether a node of the cluster can run a search's trials: asked before the first, and of each.

Nodes come and go: a cluster that grows from nothing has none when a search begins.
"""

from __future__ import annotations

import ipaddress
import json
import os
import socket
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import urlsplit

from search.versions import differences, versions_here

SEEN_SECONDS = 5.0
"""A network's file system may show a new file to other nodes only after some seconds."""

ANSWER_SECONDS = 30.0
"""A server that is started again, while a node is asked, does not make it unfit."""

NODE_FILE = "search.json"
PORTS = {"http": 80, "https": 443, "postgresql": 5432, "mysql": 3306, "mssql": 1433}
"""Where the servers of episode metrics listen unless their address says where."""


@dataclass(frozen=True)
class Expected:
    """What the driver asks of every node.

    node: id of the driver's own.
    folder: of the search, with its run id: what a node sees there must be this search.
    data_digest: of the data that the driver has loaded.
    file_stores: what lies in files on the driver's node, and what to use instead.
    loopback: where episode metrics are sent, as HOST:PORT, if each node would take that for itself.
    """

    node: str
    folder: str
    run_id: str
    data: str | None
    data_digest: str
    versions: dict[str, str]
    file_stores: list[str]
    loopback: str = ""

    def to_json(self) -> str:
        """Return the values as one string."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Expected:
        """Read what `to_json` wrote."""
        return cls(**json.loads(text))


def file_stores(tracking_uri: str, study_url: str) -> list[str]:
    """Return what is wrong with stores that other nodes cannot use, a line each."""
    lines = []
    scheme = urlsplit(tracking_uri).scheme.partition("+")[0]
    kept = {"sqlite": "a SQLite file", "file": "a folder of files", "": "a folder of files"}
    if scheme in kept:
        lines.append(
            f"--tracking-uri: {tracking_uri}: {kept[scheme]} cannot be shared by several nodes; "
            "start an MLflow server that all of them reach, and give its http:// address"
        )
    if study_url.startswith("sqlite"):
        lines.append(
            f"study_url: {study_url}: SQLite is refused where trials run on several nodes; set "
            "METASWEEP_STUDY_URL (or study_url) to a server's database: postgresql://HOST/NAME"
        )
    return lines


def loopback(tracking_uri: str) -> str:
    """Return the HOST:PORT of a server if that means the machine which asks, "" for any other."""
    parts = urlsplit(tracking_uri)
    host = parts.hostname or ""
    try:
        port = parts.port or PORTS.get(parts.scheme.partition("+")[0])
        is_own = host.rpartition(".")[2] == "localhost" or _is_own(ipaddress.ip_address(host))
    except ValueError:
        return ""
    return f"{host}:{port}" if is_own and port else ""


def _is_own(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    return address.is_loopback or address.is_unspecified


def unfit(expected: Expected, node: str, sleep: Callable[[float], None] = time.sleep) -> str:
    """Return why this node, of that id, cannot run the trials; an empty text where it can."""
    lines = []
    differing = differences(expected.versions, versions_here())
    if differing:
        lines.append(f"versions differ from the driver's: {'; '.join(differing)}")
    if node != expected.node:
        lines += expected.file_stores
        if not _sees(expected, sleep):
            lines.append(
                f"--storage: {expected.folder}: not to be seen there; give a folder that all "
                "nodes share, at the same path"
            )
        if expected.loopback and not _answers(expected.loopback, sleep):
            lines.append(
                f"--tracking-uri: {expected.loopback}: nobody answers there, since that is each "
                "node itself; give the address at which all nodes reach the server"
            )
        if expected.data is not None and not Path(expected.data).is_dir():
            lines.append(f"--data: {expected.data}: no such folder there")
    return placed(lines)


def placed(lines: Iterable[str]) -> str:
    """Return what is wrong here, each line with the node and the process that it is said of."""
    place = f"node {socket.gethostname()} (process {os.getpid()})"
    return "\n".join(f"{place}: {line}" for line in lines)


def _answers(address: str, sleep: Callable[[float], None]) -> bool:
    host, _, port = address.rpartition(":")

    def answers() -> bool:
        try:
            socket.create_connection((host, int(port)), 1.0).close()
        except OSError:
            return False
        return True

    return _within(ANSWER_SECONDS, answers, sleep)


def _sees(expected: Expected, sleep: Callable[[float], None]) -> bool:
    def sees() -> bool:
        try:
            found = json.loads((Path(expected.folder) / NODE_FILE).read_text())
        except (OSError, ValueError):
            return False  # Not there, or not to be read, yet.
        return bool(found.get("run_id") == expected.run_id)

    return _within(SEEN_SECONDS, sees, sleep)


def _within(seconds: float, is_so: Callable[[], bool], sleep: Callable[[float], None]) -> bool:
    """Look once a second, for so many seconds, whether something is so."""
    waited = 0.0
    while not is_so():
        if waited >= seconds:
            return False
        sleep(1.0)
        waited += 1.0
    return True

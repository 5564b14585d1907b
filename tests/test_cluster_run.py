"""A search on a Ray cluster that was started beforehand, and clusters that cannot be reached."""

from __future__ import annotations

import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.cli import SMALL, free_port, run, said_by_now, started, wait_until
from tests.extending import EXTEND

RAY = (str(Path(sys.executable).with_name("ray")),)
# As DESIGN.md asks of every cluster. It also makes the test independent of ~/.ray/auth_token.
TOKEN = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0123456789abcdef" * 2}


class Cluster(NamedTuple):
    address: str
    logs: Path


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A cluster of one node on loopback, which demands a token."""
    port = free_port()
    # Sockets lie in here, whose paths may have no more than 107 characters.
    with tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp") as folder:
        arguments = [
            *("start", "--head", "--block", "--node-ip-address=127.0.0.1", f"--port={port}"),
            *("--num-cpus=2", "--include-dashboard=false", "--disable-usage-stats"),
            f"--temp-dir={folder}",
        ]
        with started(*arguments, folder=Path(folder), command=RAY, environment=TOKEN) as head:
            logs = Path(folder) / "session_latest" / "logs"
            wait_until(lambda: head.poll() is not None or _raylets(logs), 60, "a Ray head")
            assert head.poll() is None, head.communicate()[0]
            yield Cluster(f"127.0.0.1:{port}", logs)


def test_search_runs_there_and_a_wrong_token_is_refused(cluster: Cluster, tmp_path: Path) -> None:
    """Both at once: Ray takes its time to refuse. Meanwhile a third waits for what no node has.

    The network comes from a folder that only this driver's PYTHONPATH names.
    """
    options = ["--trials=2", "--episodes=300", "--set=confirmation.best=0", *SMALL]
    options += ["--set=networks=[my_learners:waves]", "--set=space={}"]
    right = {"RAY_ADDRESS": cluster.address, **TOKEN, "PYTHONPATH": str(EXTEND)}
    wrong = right | {"RAY_AUTH_TOKEN": "f" * 32}
    elsewhere, greedy = tmp_path / "elsewhere", tmp_path / "greedy"
    elsewhere.mkdir()
    greedy.mkdir()
    asks = ("search", "sinusoid", *options, "--set=resources.cpu=3")
    with (
        started(*asks, folder=greedy, environment=right) as waiting,
        started("search", "sinusoid", *options, folder=tmp_path, environment=right) as search,
        started("doctor", folder=elsewhere, environment=wrong) as doctor,
    ):
        output, _ = search.communicate(timeout=200)
        complaint, _ = doctor.communicate(timeout=100)
        assert waiting.stdout is not None
        told = next(line for line in waiting.stdout if "no node has room" in line)
        waiting.send_signal(signal.SIGINT)
        waits, _ = waiting.communicate(timeout=60)

    assert "it asks for 3 CPU, and all nodes together have 2 CPU; it starts once a node has" in told
    assert waiting.returncode == 130, waits
    assert "metasweep resume sinusoid" in waits

    assert search.returncode == 0, output
    assert "query_loss, lower is better" in output
    # Ray names its logs after the driver, and writes them where the head keeps them.
    assert len(list(cluster.logs.glob(f"python-core-driver-*_{search.pid}.log"))) == 1
    workers = [file.read_text() for file in cluster.logs.glob("worker-*.out")]
    assert any("TrialActor" in worker for worker in workers)

    assert doctor.returncode == 1, complaint
    assert "Traceback" not in complaint
    assert f"RAY_ADDRESS: {cluster.address}: Failed to connect" in complaint
    assert "RAY_AUTH_TOKEN" in complaint


def test_files_as_stores_are_refused_on_two_nodes(cluster: Cluster, tmp_path: Path) -> None:
    node = ("start", "--block", f"--address={cluster.address}", "--num-cpus=1")
    environment = {"RAY_ADDRESS": cluster.address, **TOKEN}
    with started(*node, folder=tmp_path, command=RAY, environment=TOKEN) as second:
        search = ("search", "sinusoid", "--trials=2", "--episodes=50", *SMALL)
        wait_until(lambda: len(_raylets(cluster.logs)) == 2, 180, "a second node")
        assert second.poll() is None, second.communicate()[0]
        done = run(*search, folder=tmp_path, environment=environment)
    assert done.code == 2, done.output
    assert "Traceback" not in done.output
    assert "--tracking-uri: sqlite:///" in done.output
    assert "start an MLflow server that all of them reach" in done.output
    assert "study_url: sqlite:///" in done.output
    assert "METASWEEP_STUDY_URL" in done.output


def _raylets(logs: Path) -> list[Path]:
    """Return the logs of the nodes that are up: all write where the head does."""
    return [log for log in logs.glob("raylet*.out") if "Raylet" in log.read_text()]


def test_absent_cluster_is_reported_within_seconds(tmp_path: Path) -> None:
    address = f"127.0.0.1:{free_port()}"
    environment = {"RAY_ADDRESS": address}
    search = ("search", "sinusoid", "--trials=2")
    said: list[str] = []

    def begins() -> bool:
        said.append(said_by_now(process))
        return "starting Ray for search" in "".join(said)

    with started(*search, folder=tmp_path, environment=environment) as process:
        wait_until(begins, 300, "the start of a search")
        began = time.monotonic()
        last, _ = process.communicate(timeout=300)
    assert time.monotonic() - began < 20
    output = "".join([*said, last])
    assert process.returncode == 1, output
    assert "Traceback" not in output
    assert f"error RAY_ADDRESS: {address}: " in output
    assert "refused" in output
    assert "RAY_AUTH_MODE=token and RAY_AUTH_TOKEN" in output

"""Nodes that join a real Ray cluster late, and are not fit to run the trials of its search."""

from __future__ import annotations

import json
import os
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from threading import Thread
from typing import Any, Literal

import pytest
import ray
from ray.cluster_utils import Cluster

from search import driver, ray_cluster, unfit_nodes
from search.config import Config
from search.driver import LEFT_OUT, drive
from search.node import NODE_FILE, Expected
from search.room import Resources
from search.versions import versions_here
from tests.cli import wait_until
from tests.extending import EXTEND
from tests.search.conducting import Search, sample

# Each starts several nodes; `make test` has the parts, in test_unfit_nodes.py and elsewhere.
pytestmark = pytest.mark.faults

ROOT = Path(__file__).parents[2]
TRIALS = 4
MODULE = """
import os
from my_learners import waves
if "LACKS_A_LIBRARY" in os.environ:
    raise ImportError("libwaves.so: cannot open shared object file")
"""


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    """A cluster that has no node for trials yet."""
    for name, value in ray_cluster.SETTINGS.items():
        monkeypatch.setenv(name, os.environ.get(name, value))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(driver, "is_elastic", lambda: True)
    # Sockets lie in here, whose paths may have no more than 107 characters.
    with tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp") as folder:
        # Hooks at exit need signals, which other threads than the main one cannot handle.
        cluster = Cluster(shutdown_at_exit=False)
        cluster.add_node(num_cpus=0, temp_dir=folder)
        ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR")
        try:
            yield cluster
        finally:
            ray.shutdown()
            started = [
                info.process
                for node in cluster.list_all_nodes()
                for infos in node.all_processes.values()
                for info in infos
            ]
            cluster.shutdown()
            for process in started:  # Ray kills them, and leaves it to chance when they are gone.
                process.wait(60)


def join(cluster: Cluster, folders: Sequence[Path] = (), **environment: str) -> str:
    """Let a node join that finds packages in `folders` first; return its id.

    Ray counts a GPU that it has, whether there is one or not.
    """
    path = os.pathsep.join(str(folder) for folder in [*folders, ROOT])
    node = cluster.add_node(num_cpus=2, num_gpus=1, env_vars={"PYTHONPATH": path, **environment})
    return str(node.node_id)


def old_torch(folder: Path) -> Path:
    """Leave in a folder what an installer leaves there of another version of torch."""
    info = folder / "torch-1.2.3.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: torch\nVersion: 1.2.3\n")
    return folder


def without_mlflow(folder: Path) -> Path:
    """Leave in a folder an mlflow that cannot be imported, and so no trial's process either."""
    package = folder / "mlflow"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text('raise ImportError("libssl.so: cannot open it")\n')
    return folder


def on_own_network(trial: Any) -> Config:
    settings = {"waves": 8, "width": 20}
    config = sample(trial)
    return replace(config, network="my_late_learners:waves", settings=settings, rungs=())


@pytest.fixture
def search(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Search:
    """A search on a user's own network, whose module not every node can import."""
    (tmp_path / "my_late_learners.py").write_text(MODULE)
    for folder in (EXTEND, tmp_path):
        monkeypatch.syspath_prepend(folder)
    search = Search(tmp_path)
    search.conduct(trials=TRIALS).sample = on_own_network
    return search


def driven(
    search: Search,
    folder: Path,
    change: Callable[[], object],
    gpu: float | Literal["auto"] = 0,
) -> None:
    """Run a search, and change its cluster once as many trials wait as do without a node."""
    (folder / NODE_FILE).write_text(json.dumps({"run_id": "mine"}))
    expected = Expected(ray_cluster.own_node(), str(folder), "mine", None, "", versions_here(), [])
    errors: list[Exception] = []

    def meanwhile() -> None:
        try:
            # What the first one needs is to be known before the others are handed out.
            waiting = 1 if gpu == "auto" else TRIALS
            wait_until(lambda: len(search.conductor.running) >= waiting, 180, "trials that wait")
            change()
        except Exception as error:  # Told by the test, at its end.
            errors.append(error)
            search.conductor.interrupted = True

    changing = Thread(target=meanwhile)
    changing.start()
    drive(search.conductor, Resources(1, gpu), "http://127.0.0.1:1", expected, None)
    changing.join()
    assert errors == []


def left_out(search: Search) -> list[str]:
    """Return what was said of nodes that are left out, in order.

    Beside it, it may have been said that trials wait for a node.
    """
    said = [text for event, text in search.listener.events if event == "remarks"]
    return [text for text in said if text.endswith(LEFT_OUT)]


@pytest.mark.parametrize("gpu", [0, "auto"])
def test_a_search_goes_on_without_the_nodes_that_are_unfit(
    gpu: float | Literal["auto"],
    cluster: Cluster,
    search: Search,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sent: Counter[tuple[str, str]] = Counter()
    leave_out = driver._Telling._left_out

    def noted(telling: Any, trial: Any, node: str, progress: Any) -> Any:
        sent[telling._jobs[trial.trial_id].name, node] += 1
        return leave_out(telling, trial, node, progress)

    monkeypatch.setattr(driver._Telling, "_left_out", noted)
    unfit: list[str] = []

    def nodes_join() -> None:
        unfit.append(join(cluster, [old_torch(tmp_path / "old")]))
        wait_until(lambda: len(left_out(search)) == 1, 180, "a node that is unfit")
        unfit.append(join(cluster, LACKS_A_LIBRARY="1"))
        wait_until(lambda: len(left_out(search)) == 2, 180, "another node that is unfit")
        join(cluster)

    driven(search, tmp_path, nodes_join, gpu)
    assert search.conductor.blocked == ""
    assert search.states() == ["COMPLETE"] * TRIALS
    first, second = left_out(search)
    assert "versions differ from the driver's: torch is 1.2.3 there and " in first
    assert "network: 'my_late_learners:waves': importing my_late_learners failed: " in second
    assert "libwaves.so: cannot open shared object file" in second
    for text in (first, second):
        assert text.startswith("node ")
    assert {node for _, node in sent} == set(unfit)
    assert set(sent.values()) == {1}, "a trial was sent again to a node that is unfit"
    for trial in search.folder.iterdir():
        assert len(list((trial / "attempts").iterdir())) == 1


def test_a_search_goes_on_without_a_node_on_which_no_process_starts(
    cluster: Cluster, search: Search, tmp_path: Path
) -> None:
    def nodes_join() -> None:
        join(cluster, [without_mlflow(tmp_path / "broken")])
        wait_until(lambda: len(left_out(search)) == 1, 180, "a node that is unfit")
        join(cluster)

    driven(search, tmp_path, nodes_join)
    assert search.conductor.blocked == ""
    assert search.states() == ["COMPLETE"] * TRIALS
    [text] = left_out(search)
    assert text.startswith("node ")
    assert "the process of a trial cannot start there: ImportError: libssl.so: cannot" in text


def test_a_search_stops_where_a_cluster_brings_unfit_nodes_alone(
    cluster: Cluster, search: Search, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unfit_nodes, "PATIENCE", 3.0)
    driven(search, tmp_path, lambda: join(cluster, [old_torch(tmp_path / "old")]))
    assert "versions differ from the driver's: torch is 1.2.3 there" in search.conductor.blocked
    assert [text.splitlines()[0] for text in left_out(search)] == [search.conductor.blocked]
    assert search.states() == ["RUNNING"] * TRIALS  # To be gone on with.

"""The Ray cluster, or this machine alone: connecting, what it has, whether its nodes are fit."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections import Counter
from collections.abc import Collection, Mapping
from types import FrameType

import ray
from ray._private.state import actors, available_resources_per_node
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from search.errors import FailedError, UserError
from search.node import Expected, unfit
from search.plain_text import first_line
from search.ray_alone import few_processes
from search.room import Resources, check, how_many, trials_that_fit
from search.user_code import extend_path, own_path

CONNECT_SECONDS = 5
LOOK_SECONDS = 1.0
ANSWER_SECONDS = 120
"""For a node to start a process, and to import torch in it for the first time."""

SETTINGS = {
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # MLflow records; CSV, JSON and TensorBoard do not.
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # `interruptible` stops the search, and keeps it resumable.
    "RAY_AIR_NEW_OUTPUT": "0",  # The new one prints tables even at verbose=0.
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",  # Not as a traceback: the live display says it in a line.
    "TUNE_WARN_THRESHOLD_S": "10",
    "TUNE_MAX_PENDING_TRIALS_PG": "100000",  # `search.line` says how many; unset, it is one.
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_prestart_worker_first_driver": "0",  # One a processor, of which no trial is given any.
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # What Ray will do anyway, without its warning.
}


def start_ray() -> None:
    """Connect to the cluster that RAY_ADDRESS names, or start Ray on this machine alone.

    Raises FailedError when the cluster does not answer, or refuses our token.
    """
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    if ray.is_initialized():
        return
    quiet = {"log_to_driver": False, "logging_level": "ERROR"}
    address = os.environ.get("RAY_ADDRESS")
    if not address:
        with few_processes():
            ray.init(address="local", include_dashboard=False, num_cpus=os.cpu_count(), **quiet)
        _end_on_sigterm()
        return
    try:
        _knock(address)
        ray.init(**quiet)
        _end_on_sigterm()
    except Exception as error:
        # Ray raises ConnectionError, RuntimeError, ValueError and more of its own.
        raise FailedError(
            f"RAY_ADDRESS: {address}: {first_line(error)}\n"
            "Start the cluster, or correct RAY_ADDRESS. If it asks for a token, set "
            "RAY_AUTH_MODE=token and RAY_AUTH_TOKEN to what they are on the cluster."
        ) from None


def _knock(address: str) -> None:
    """Raise OSError within seconds where nobody listens: Ray itself would try for minutes."""
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host.strip("[]"), int(port)), CONNECT_SECONDS).close()


def _end_on_sigterm() -> None:
    """Make SIGTERM end the process as Ctrl-C does; Ray's own handler would end it on the spot."""

    def handle(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, handle)


def stop_ray() -> None:
    """Leave the cluster, or stop the local one."""
    ray.shutdown()


def room() -> Resources:
    """Return what all nodes have together."""
    have = ray.cluster_resources()
    return Resources(have.get("CPU", 0), have.get("GPU", 0), have.get("memory", 0) / 1e9)


def is_elastic() -> bool:
    """Whether trials run on a cluster, which may grow, and not on this machine alone."""
    return bool(os.environ.get("RAY_ADDRESS"))


def room_for(resources: Resources) -> int | None:
    """Return how many trials fit this machine at once; None on a cluster, which may grow.

    Raises UserError where this machine has no room for one.
    """
    if is_elastic():
        return None
    have = room()
    check(resources, have)
    return trials_that_fit(resources, have)


def check_nodes(expected: Expected) -> None:
    """Raise UserError, before the first trial, where a node could not run one."""
    others = [
        node["NodeID"]
        for node in ray.nodes()
        if node["Alive"] and node["NodeID"] != expected.node and node["Resources"].get("CPU")
    ]
    ask = ray.remote(num_cpus=0)(_ask_node)
    answers = [
        ask.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=True)).remote(
            expected.to_json(), own_path()
        )
        for node in others
    ]
    wrong = []
    for node, answer in zip(others, answers, strict=True):
        try:
            wrong.append(ray.get(answer, timeout=ANSWER_SECONDS))
        except RayError as error:
            wrong.append(f"node {node}: metasweep cannot be started there: {first_line(error)}")
    wrong = [line for line in wrong if line]
    if wrong:
        raise UserError("\n".join(wrong))


def _ask_node(expected: str, path: list[str]) -> str:
    extend_path(path)
    return unfit(Expected.from_json(expected), ray.get_runtime_context().get_node_id())


def own_node() -> str:
    """Return the id of the node that this driver runs on."""
    return ray.get_runtime_context().get_node_id()


def node_of(actor: str) -> tuple[str, str]:
    """Return the id and the name of the node that an actor of this id ran on, "" if unknown."""
    node = (actors(actor).get("Address") or {}).get("NodeID", "")
    names = {each["NodeID"]: each["NodeManagerHostname"] for each in ray.nodes()}
    return node, names.get(node, node)


def largest_memory_gb(without: Collection[str] = ()) -> float:
    """Return the memory of the node that has most, but for those of these ids."""
    memory = [has.get("memory", 0.0) for has in _nodes(without).values()]
    return max(memory, default=0.0) / 1e9


def all_together(without: Collection[str] = ()) -> Mapping[str, float]:
    """Return what all nodes have together, but for those of these ids."""
    total: Counter[str] = Counter()
    for has in _nodes(without).values():
        total.update(has)
    return total


def nodes_with(wanted: Mapping[str, float]) -> set[str]:
    """Return the ids of the nodes that have, free or not, what one trial asks for."""
    return {node for node, has in _nodes().items() if how_many(wanted, has)}


def _nodes(without: Collection[str] = ()) -> dict[str, Mapping[str, float]]:
    """Return what each node has, free or not, by its id."""
    nodes = {node["NodeID"]: node["Resources"] for node in ray.nodes() if node["Alive"]}
    return {node: has for node, has in nodes.items() if node not in without}


class Nodes:
    """What the nodes of the cluster have free, looked up once a second, and when that changes."""

    def __init__(self) -> None:
        self._taken = 0
        self._free: Mapping[str, Mapping[str, float]] = {}
        self._looked = float("-inf")

    def room_for(
        self, wanted: Mapping[str, float], taken: int, without: Collection[str] = ()
    ) -> tuple[int, int]:
        """Return how many trials that ask for `wanted` fit now, and how many nodes there are.

        taken: by how many trials there is room taken. without: ids of nodes that do not count.
        """
        now = time.monotonic()
        if now - self._looked >= LOOK_SECONDS or taken != self._taken:
            self._free, self._looked = available_resources_per_node(), now
            self._taken = taken
        free = [has for node, has in self._free.items() if node not in without]
        return sum(how_many(wanted, has) for has in free), len(free)

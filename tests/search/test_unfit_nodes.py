from __future__ import annotations

import pytest

from search import ray_cluster
from search.line import PATIENCE
from search.unfit_nodes import UnfitNodes
from tests.search.conducting import Clock


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_each_node_is_news_once(clock: Clock) -> None:
    nodes = UnfitNodes(True, clock)
    assert nodes.ids == []
    assert nodes.found("b", "node b: too old")
    assert not nodes.found("b", "node b (another process): too old")
    assert nodes.found("a", "node a: no data")
    assert nodes.ids == ["a", "b"]


def test_nothing_is_hopeless_while_a_node_is_there_that_is_not_known_to_be_unfit() -> None:
    nodes = UnfitNodes(False)
    assert nodes.why_hopeless([]) == ""
    nodes.found("a", "node a: too old")
    assert nodes.why_hopeless({"a", "b"}) == ""
    assert nodes.why_hopeless({"b"}) == ""


def test_without_one_a_machine_that_stands_alone_is_hopeless_at_once() -> None:
    nodes = UnfitNodes(False)
    nodes.found("a", "node a: too old")
    assert nodes.why_hopeless({"a"}) == "node a: too old"


def test_a_cluster_may_still_bring_a_fit_node_but_not_for_ever(clock: Clock) -> None:
    nodes = UnfitNodes(True, clock)
    nodes.found("a", "node a: too old")
    clock.now += PATIENCE - 1
    nodes.found("b", "node b: too old")
    assert nodes.why_hopeless({"a", "b"}) == ""
    clock.now += 1
    # Of machines that are started and end again while idle, there may be none at the moment.
    assert nodes.why_hopeless({}) == "node a: too old\nnode b: too old"


def test_a_fit_node_that_came_and_went_is_waited_for(clock: Clock) -> None:
    nodes = UnfitNodes(True, clock)
    nodes.found("a", "node a: too old")
    assert nodes.why_hopeless({"a", "fit"}) == ""
    clock.now += 10 * PATIENCE
    assert nodes.why_hopeless({"a"}) == ""
    nodes.found("b", "node b: too old")
    assert nodes.why_hopeless({"a", "b"}) == ""
    clock.now += PATIENCE
    assert nodes.why_hopeless({"a", "b"}) == "node a: too old\nnode b: too old"


def test_unfit_nodes_have_no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    has = {"small": {"CPU": 2.0, "memory": 4e9}, "large": {"CPU": 8.0, "memory": 16e9}, "head": {}}
    nodes = [{"NodeID": name, "Alive": True, "Resources": each} for name, each in has.items()]
    gone = {"NodeID": "gone", "Alive": False, "Resources": {"CPU": 64.0, "memory": 99e9}}
    monkeypatch.setattr(ray_cluster.ray, "nodes", lambda: [*nodes, gone])
    monkeypatch.setattr(ray_cluster, "available_resources_per_node", lambda: has)
    assert ray_cluster.Nodes().room_for({"CPU": 1.0}, 0) == (10, 3)
    assert ray_cluster.Nodes().room_for({"CPU": 1.0}, 0, without=["large"]) == (2, 2)
    assert ray_cluster.nodes_with({"CPU": 1.0}) == {"small", "large"}
    assert ray_cluster.nodes_with({"CPU": 1.0, "memory": 8e9}) == {"large"}
    assert ray_cluster.largest_memory_gb() == 16.0
    assert ray_cluster.largest_memory_gb(without=["large"]) == 4.0
    assert ray_cluster.all_together() == {"CPU": 10.0, "memory": 20e9}
    assert ray_cluster.all_together(without=["large"]) == {"CPU": 2.0, "memory": 4e9}

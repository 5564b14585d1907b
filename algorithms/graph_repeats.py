"""Finds what a traced graph computes twice: the second derivative repeats products of the first."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

from torch.fx import Graph, Node

from algorithms.graph_terms import aten, call

VIEWS = (
    *(aten.transpose.int, aten.permute.default, aten.view.default, aten.reshape.default),
    *(aten.select.int, aten.expand.default, aten.unsqueeze.default, aten.squeeze.dim),
)
PLAIN_PRODUCTS = (aten.mm.default, aten.bmm.default)


def computed_once(graph: Graph) -> None:
    """Let equal products, and the views that they are made of, be computed once.

    B^T A^T is the transpose of A B, which costs nothing.
    """
    known: dict[Hashable, Node] = {}
    for node in list(graph.nodes):
        if node.target in PLAIN_PRODUCTS:
            sides: Any = [_seen_through(side) for side in node.args]
            mirrored = (node.target, *((side, not turned) for side, turned in reversed(sides)))
            if mirrored in known:
                with graph.inserting_before(node):
                    _replace(node, call(graph, aten.transpose.int, known[mirrored], -2, -1))
                continue
            key: Hashable = (node.target, *sides)
        elif node.target in VIEWS:
            key = (node.target, *map(_hashable, node.args), *map(_hashable, node.kwargs.items()))
        else:
            continue
        if key in known:
            _replace(node, known[key])
        else:
            known[key] = node


def _seen_through(node: Node) -> tuple[Node, bool]:
    """Return what a node is a transpose of, and whether it is one."""
    arguments: Any = node.args
    if node.target == aten.transpose.int:
        axes = node.meta["val"].dim()
        if {axis % axes for axis in arguments[1:]} == {axes - 2, axes - 1}:
            inner, turned = _seen_through(arguments[0])
            return inner, not turned
    return node, False


def _hashable(argument: Any) -> Hashable:
    if isinstance(argument, list | tuple):
        return tuple(map(_hashable, argument))
    return argument


def _replace(node: Node, by: Node) -> None:
    node.replace_all_uses_with(by)
    node.graph.erase_node(node)

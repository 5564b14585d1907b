"""Rewrites a traced graph of small matrix products into one that a CPU runs faster.

A batch of episodes is traced as batched products (T, n, k) x (T, k, m), for every episode has its
own weights. Three kinds of them need not be: where all episodes share an operand, and where their
products are added up, one large product does; where an axis has length 1, so do elementwise
operations, which Inductor fuses with their surroundings. Before that, weights that an inner step
has moved are multiplied term by term (`algorithms.graph_terms`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.fx import Graph, GraphModule, Node

from algorithms.graph_repeats import computed_once
from algorithms.graph_terms import PRODUCTS, aten, call, multiplied_term_by_term
from algorithms.graph_terms import value_of as _value


def simplified(module: GraphModule) -> GraphModule:
    """Rewrite a graph of `make_fx` in place, with the same results up to rounding; return it."""
    for node in module.graph.nodes:
        _without_data(module, node)
    for rewrite in (_without_factors, multiplied_term_by_term, _added_up, _shared, _elementwise):
        for node in list(module.graph.nodes):
            rewrite(module.graph, node)
        module.graph.eliminate_dead_code()
    computed_once(module.graph)
    module.graph.eliminate_dead_code()
    module.graph.lint()
    module.recompile()
    return module


def _operands(node: Node) -> tuple[Node, Node]:
    """Return both sides of a product."""
    left, right = node.args[-2:]
    assert isinstance(left, Node)
    assert isinstance(right, Node)
    return left, right


def _without_data(module: GraphModule, node: Node) -> None:
    """Keep of a node's traced tensor its shape, strides and type, as a tensor without data."""
    traced = node.meta.get("val")
    if node.op == "get_attr":
        traced = getattr(module, str(node.target))
    if isinstance(traced, Tensor):
        node.meta["val"] = torch.empty_strided(
            traced.shape, traced.stride(), dtype=traced.dtype, device="meta"
        )


def _without_factors(graph: Graph, node: Node) -> None:
    """Write beta C + alpha A B out, so that nothing that follows need mind the factors."""
    if node.target != aten.baddbmm.default or not node.kwargs:
        return
    factors: Any = node.kwargs
    with graph.inserting_before(node):
        product = call(graph, aten.bmm.default, *_operands(node))
        scaled = call(graph, aten.mul.Tensor, product, factors.get("alpha", 1))
        added = call(graph, aten.mul.Tensor, node.args[0], factors.get("beta", 1))
        total = call(graph, aten.add.Tensor, scaled, added)
    node.replace_all_uses_with(total)
    graph.erase_node(node)


def _added_up(graph: Graph, node: Node) -> None:
    """Turn the sum over episodes of products into one: sum_t A_t B_t = [A_1 A_2 ...] [B_1; ...]."""
    if node.target != aten.sum.dim_IntList:
        return
    arguments: Any = node.args
    source = arguments[0]
    if list(arguments[1]) != [0] or _value(source).dim() != 3:
        return
    terms = list(_terms(source, False))
    if not any(term.target == aten.bmm.default for term, _ in terms):
        return
    with graph.inserting_before(node):
        total: Node | None = None
        for term, transposed in terms:
            found = _summed(graph, term)
            if transposed:
                found = call(graph, aten.transpose.int, found, 0, 1)
            total = call(graph, aten.add.Tensor, total, found) if total else found
        assert total is not None
        if len(arguments) > 2 and arguments[2]:
            total = call(graph, aten.unsqueeze.default, total, 0)
    total.meta["val"] = _value(node)
    node.replace_all_uses_with(total)
    graph.erase_node(node)


def _terms(node: Node, transposed: bool) -> Iterator[tuple[Node, bool]]:
    """Yield what is added up, and whether it is transposed; only what nothing else uses."""
    if len(node.users) == 1 and node.target == aten.add.Tensor:
        parts = [part for part in node.args if isinstance(part, Node)]
        if len(parts) == 2 and all(_value(p).shape == _value(node).shape for p in parts):
            for part in parts:
                yield from _terms(part, transposed)
            return
    arguments: Any = node.args
    flips = node.target == aten.transpose.int and {axis % 3 for axis in arguments[1:]} == {1, 2}
    if len(node.users) == 1 and flips:
        yield from _terms(arguments[0], not transposed)
    else:
        yield node, transposed


def _summed(graph: Graph, term: Node) -> Node:
    if term.target != aten.bmm.default:
        return call(graph, aten.sum.dim_IntList, term, [0])
    left, right = _operands(term)
    rows, columns = _value(left).shape[1], _value(right).shape[2]
    side = call(graph, aten.permute.default, left, [1, 0, 2])
    side = call(graph, aten.reshape.default, side, [rows, -1])
    below = call(graph, aten.reshape.default, right, [-1, columns])
    return call(graph, aten.mm.default, side, below)


def _shared(graph: Graph, node: Node) -> None:
    """Turn a batched product with one right operand for all into a product of all rows at once."""
    if node.target not in PRODUCTS:
        return
    left, right = _operands(node)
    episodes, rows, inner = _value(left).shape
    if episodes == 1 or _value(right).stride(0) != 0 or min(rows, inner) == 1:
        return
    if _value(right).shape[2] == 1:
        return
    with graph.inserting_before(node):
        flat = call(graph, aten.reshape.default, left, [episodes * rows, inner])
        one = call(graph, aten.select.int, right, 0, 0)
        product = call(graph, aten.mm.default, flat, one)
        product = call(graph, aten.reshape.default, product, list(_value(node).shape))
        _replace(graph, node, product)


def _elementwise(graph: Graph, node: Node) -> None:
    """Turn a batched product with an axis of length 1 into a multiplication, and a sum."""
    if node.target not in PRODUCTS:
        return
    left, right = _operands(node)
    _, rows, inner = _value(left).shape
    if min(rows, inner, _value(right).shape[2]) > 1:
        return
    with graph.inserting_before(node):
        if inner == 1:
            product = call(graph, aten.mul.Tensor, left, right)
        else:
            wide = call(graph, aten.unsqueeze.default, left, 3)
            tall = call(graph, aten.unsqueeze.default, right, 1)
            product = call(graph, aten.mul.Tensor, wide, tall)
            product = call(graph, aten.sum.dim_IntList, product, [2])
        _replace(graph, node, product)


def _replace(graph: Graph, node: Node, product: Node) -> None:
    """Put a product in a node's place, with what `baddbmm` adds to it."""
    if node.target == aten.baddbmm.default:
        product = call(graph, aten.add.Tensor, product, node.args[0])
    product.meta["val"] = _value(node)
    node.replace_all_uses_with(product)
    graph.erase_node(node)

"""Batched matrices written as sums of shared matrices and products, and multiplied as such.

An inner step moves an episode's weight by a product of its support set's gradients and features,
W - rate G H, whose inner axis is the number of examples. Where that is short it is faster never to
compute the moved weight: x (W - rate G H) = x W - rate ((x G) H), and x W is one product for all.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.fx import Graph, Node

aten = torch.ops.aten
PRODUCTS = (aten.bmm.default, aten.baddbmm.default)
SAME = (aten.alias.default, aten.view.default, aten._unsafe_view.default, aten.expand.default)
"""What leaves a matrix as it is where it leaves its shape."""
MOST_TERMS = 4
DENSE = 0.7
"""What a product with a shared matrix costs, as a share of one with a matrix an episode."""


@dataclass(frozen=True)
class Term:
    """One summand: sign * scales * (a matrix, or the product of two), perhaps transposed.

    factors: one node or two, (T, rows, columns) each.
    scales: scalars, or one an episode, (T, 1, 1).
    """

    factors: tuple[Node, ...]
    sign: int = 1
    scales: tuple[Node, ...] = ()
    transposed: bool = False


def value_of(node: Node) -> Tensor:
    """Return the tensor of a node as it was traced: its shape and strides."""
    return node.meta["val"]


def call(graph: Graph, target: Any, *arguments: Any) -> Node:
    """Insert a call, with the shape and strides of its result."""
    node = graph.call_function(target, arguments)
    values = [each.meta["val"] if isinstance(each, Node) else each for each in arguments]
    node.meta["val"] = target(*values)
    return node


def multiplied_term_by_term(graph: Graph, node: Node) -> None:
    """Rewrite a batched product whose operand is such a sum, where that takes less time."""
    if node.target not in PRODUCTS:
        return
    for side in (1, 0):
        operands: Any = node.args[-2:]
        matrix, other = operands[side], operands[1 - side]
        terms = terms_of(matrix)
        if terms is None or not _is_cheaper(terms, matrix, other, side):
            continue
        with graph.inserting_before(node):
            total: Node | None = None
            for term in terms:
                product = _product(graph, term, other, side)
                if total is not None:
                    add = aten.add.Tensor if term.sign > 0 else aten.sub.Tensor
                    total = call(graph, add, total, product)
                else:
                    total = product if term.sign > 0 else call(graph, aten.neg.default, product)
            assert total is not None
            if node.target == aten.baddbmm.default:
                total = call(graph, aten.add.Tensor, total, node.args[0])
        node.replace_all_uses_with(total)
        graph.erase_node(node)
        return


def terms_of(matrix: Node) -> list[Term] | None:
    """Return the summands of a batched matrix; None where they are too many."""
    found = _terms(matrix)
    return found if len(found) <= MOST_TERMS else None


def _terms(node: Node) -> list[Term]:
    arguments: Any = node.args
    shape = value_of(node).shape
    if node.target in SAME and value_of(arguments[0]).shape == shape:
        return _terms(arguments[0])
    if node.target == aten.neg.default:
        return [replace(term, sign=-term.sign) for term in _terms(arguments[0])]
    if node.target == aten.transpose.int and {axis % 3 for axis in arguments[1:]} == {1, 2}:
        return [replace(term, transposed=not term.transposed) for term in _terms(arguments[0])]
    nodes = len(arguments) == 2 and all(isinstance(each, Node) for each in arguments)
    alike = nodes and all(value_of(each).shape == shape for each in arguments)
    if node.target in (aten.add.Tensor, aten.sub.Tensor) and alike:
        sign = 1 if node.target == aten.add.Tensor else -1
        second = [replace(term, sign=sign * term.sign) for term in _terms(arguments[1])]
        return _terms(arguments[0]) + second
    if node.target == aten.mul.Tensor and nodes:
        for scale, scaled in (arguments, arguments[::-1]):
            one = value_of(scale).dim() == 0 or value_of(scale).shape[-2:] == (1, 1)
            if one and value_of(scaled).shape == shape:
                return [replace(t, scales=(*t.scales, scale)) for t in _terms(scaled)]
    if node.target == aten.bmm.default:
        return [Term(tuple(arguments))]
    return [Term((node,))]


def _is_cheaper(terms: list[Term], matrix: Node, other: Node, side: int) -> bool:
    """Whether term by term takes fewer multiplications, the products' own counted by half."""
    if not any(len(term.factors) == 2 for term in terms):
        return False
    rows, columns = value_of(matrix).shape[1:]
    through = value_of(other).shape[1] if side else value_of(other).shape[2]
    if min(rows, columns, through) == 1:
        return False  # elementwise anyway
    direct = float(through * rows * columns)
    apart, own = 0.0, 0.0
    for term in terms:
        if len(term.factors) == 2:
            inner = value_of(term.factors[0]).shape[2]
            apart += through * inner * (rows + columns)
            own = max(own, inner * rows * columns)
        else:
            shared = side == 1 and value_of(term.factors[0]).stride(0) == 0
            apart += direct * (DENSE if shared else 1.0)
    return apart < direct + own / 2


def _product(graph: Graph, term: Term, other: Node, side: int) -> Node:
    """Return other @ term (side 1) or term @ other (side 0), without its sign."""
    factors = list(term.factors)
    if term.transposed:
        factors = [call(graph, aten.transpose.int, each, 1, 2) for each in reversed(factors)]
    found = other
    for factor in factors if side else reversed(factors):
        pair = (found, factor) if side else (factor, found)
        found = call(graph, aten.bmm.default, *pair)
    for scale in term.scales:
        found = call(graph, aten.mul.Tensor, found, scale)
    return found

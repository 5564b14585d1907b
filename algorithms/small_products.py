"""Products of small matrices as one operation, with a kernel of our own in compiled programs.

The products of an episode are so small that a library of linear algebra takes as long to prepare
one as to compute it, and none of the usual ones uses all of every processor: 250 x 40 times 40 x 40
takes oneMKL twice as long on a processor of another make. The kernel's source is put into each
program (`small_products.cpp`), which Inductor then compiles for the processor that it is on.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.fx import Graph, GraphModule, Node

from algorithms.graph_terms import PRODUCTS, aten, call, value_of

SOURCE = Path(__file__).with_suffix(".cpp")
DTYPES = (torch.float32, torch.float64)
DECLARATION = (
    "AOTITorchError aoti_torch_cpu_small_product("
    "AtenTensorHandle left, AtenTensorHandle right, AtenTensorHandle* result)"
)
MOST_PACKED = 16_384
"""Numbers of a right operand that is copied to be read in order: they stay in the first cache."""
MOST_MULTIPLIED = 4_000_000
"""Multiplications above which a library's threads and blocking are worth their preparation."""


@torch.library.custom_op("metasweep::small_product", mutates_args=(), device_types="cpu")
def small_product(left: Tensor, right: Tensor) -> Tensor:
    """Multiply matrices, (n, k) by (k, m), or T of each, (T, n, k) by (T, k, m).

    Where no compiled program runs it, torch does.
    """
    return torch.matmul(left, right).contiguous()


@small_product.register_fake
def _(left: Tensor, right: Tensor) -> Tensor:
    return left.new_empty((*left.shape[:-1], right.shape[-1]))


def with_small_products(module: GraphModule) -> GraphModule:
    """Put the operation in the place of products that gain by it, in place; return the graph."""
    for node in list(module.graph.nodes):
        if node.target in (*PRODUCTS, aten.mm.default) and _is_small(node):
            _replace(module.graph, node)
    module.graph.lint()
    module.recompile()
    return module


def _is_small(node: Node) -> bool:
    left, right = (value_of(each) for each in _operands(node))
    inner, columns = right.shape[-2:]
    multiplied = left.numel() * columns
    known = left.dtype in DTYPES and right.dtype == left.dtype
    return known and inner * columns <= MOST_PACKED and 0 < multiplied <= MOST_MULTIPLIED


def _replace(graph: Graph, node: Node) -> None:
    with graph.inserting_before(node):
        product = call(graph, torch.ops.metasweep.small_product.default, *_operands(node))
        if node.target == aten.baddbmm.default:
            product = call(graph, aten.add.Tensor, product, node.args[0])
    node.replace_all_uses_with(product)
    graph.erase_node(node)


def _operands(node: Node) -> tuple[Any, ...]:
    return node.args[-2:]


@cache
def compiler_settings() -> dict[str, Any]:
    """Return Inductor's settings that put the kernel into a program.

    Inductor writes the declaration of an operation's C function into the program; nothing keeps
    that from being its definition.
    """
    operation = torch.ops.metasweep.small_product.default
    # It stands within `extern "C" { extern ...; }`.
    definition = f'{DECLARATION};\n}}\n{SOURCE.read_text()}\nextern "C" {{\n{DECLARATION}'
    return {
        "aot_inductor.custom_ops_to_c_shims": {operation: [definition]},
        "aot_inductor.compile_wrapper_opt_level": "O3",
        "cpp.enable_floating_point_contract_flag": "fast",
    }

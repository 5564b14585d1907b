"""The kernel of small products, in a program that a compiler made, against torch."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx

from algorithms.graph_passes import simplified
from algorithms.programs import can_compile
from algorithms.small_products import compiler_settings, small_product, with_small_products

T = 3
ROUNDING = {torch.float32: 2e-6, torch.float64: 4e-15}
SIZES = [
    *((10, 40, 10), (40, 250, 40), (25, 7, 64), (1, 40, 16), (24, 5, 65), (11, 6, 1)),
    *((7, 9, 130), (2, 2, 2), (23, 20, 48)),
]


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """Inductor warns on its loggers that no GPU is there."""
    logging.disable(logging.WARNING)
    yield
    logging.disable(logging.NOTSET)


def operands(dtype: torch.dtype, sizes: list[tuple[int, ...]]) -> list[tuple[Tensor, Tensor]]:
    """Return pairs of matrices of many sizes, in the layouts that views give them."""
    rng = torch.Generator().manual_seed(0)

    def drawn(*shape: int) -> Tensor:
        return torch.randn(shape, generator=rng, dtype=dtype)

    pairs = []
    for n, k, m in sizes:
        pairs += [(drawn(T, n, k), drawn(T, k, m)), (drawn(T, k, n).mT, drawn(T, m, k).mT)]
        pairs += [(drawn(n, k), drawn(m, k).T), (drawn(k, n).T, drawn(k, m))]
        pairs += [(drawn(T, 2 * n, k)[:, ::2], drawn(T, k, 2 * m)[:, :, ::2])]
        pairs += [(drawn(n, k).expand(T, n, k), drawn(k, m).expand(T, k, m))]
    return pairs


@pytest.mark.skipif(not can_compile(), reason="no C++ compiler")
@pytest.mark.parametrize(
    "sizes",
    [
        # A long sum, sizes that leave a rest of the tiles on each side, and a vector.
        pytest.param([(40, 250, 40), (24, 5, 65), (11, 6, 1)], id="some"),
        pytest.param(SIZES, id="all", marks=pytest.mark.exhaustive),
    ],
)
def test_a_compiled_program_multiplies_as_torch_does(
    sizes: list[tuple[int, ...]], tmp_path: Path
) -> None:
    pairs = [pair for dtype in ROUNDING for pair in operands(dtype, sizes)]
    flat = [each for pair in pairs for each in pair]

    class Products(torch.nn.Module):
        def forward(self, *tensors: Tensor) -> list[Tensor]:
            return [small_product(*two) for two in zip(tensors[::2], tensors[1::2], strict=True)]

    package = str(tmp_path / "products.pt2")
    with torch.no_grad():
        exported = torch.export.export(Products(), tuple(flat))
        torch._inductor.aoti_compile_and_package(
            exported, package_path=package, inductor_configs=compiler_settings()
        )
        found = torch._inductor.aoti_load_package(package)(*flat)
    for (left, right), product in zip(pairs, found, strict=True):
        exact = left.double() @ right.double()
        assert product.is_contiguous()
        assert product.dtype == left.dtype
        assert product.shape == exact.shape
        largest = (left.double().abs() @ right.double().abs()).clamp(min=1e-30)
        assert ((product.double() - exact).abs() / largest).max() <= ROUNDING[left.dtype]


def targets(function: Callable[..., Tensor], *inputs: Tensor) -> Counter[str]:
    graph = with_small_products(simplified(make_fx(function)(*inputs)))
    torch.testing.assert_close(graph(*inputs), function(*inputs))
    return Counter(
        str(node.target).split(".")[1] for node in graph.graph.nodes if node.op == "call_function"
    )


def test_only_what_is_small_is_replaced() -> None:
    matrix, large = torch.ones(40, 40), torch.ones(200, 200)
    assert targets(torch.mm, matrix, matrix) == {"small_product": 1}
    assert targets(torch.mm, large, large) == {"mm": 1}
    assert targets(torch.bmm, torch.ones(9, 99, 99), torch.ones(9, 99, 99)) == {"bmm": 1}
    assert targets(torch.mm, matrix.long(), matrix.long()) == {"mm": 1}


def test_what_is_added_and_its_factors_stay() -> None:
    added, left, right = torch.ones(T, 1, 4), torch.ones(T, 2, 3), torch.ones(T, 3, 4)
    assert targets(torch.baddbmm, added, left, right) == {"small_product": 1, "add": 1}
    found = targets(lambda c, a, b: torch.baddbmm(c, a, b, alpha=-2), added, left, right)
    assert found["small_product"] == 1

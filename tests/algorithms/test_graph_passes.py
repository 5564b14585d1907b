"""Rewritten graphs give the same results, with the products that they promise."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx

from algorithms.graph_passes import simplified

T, N, K, M = 3, 4, 5, 6


def drawn(*shape: int) -> Tensor:
    rng = torch.Generator().manual_seed(sum(shape))
    return torch.randn(shape, generator=rng, dtype=torch.float64)


def rewritten(function: Callable[..., Tensor], *inputs: Tensor) -> Counter[str]:
    """Check that rewriting changes no result; return how often each product is in the graph."""
    graph = simplified(make_fx(function)(*inputs))
    torch.testing.assert_close(graph(*inputs), function(*inputs), rtol=1e-12, atol=1e-12)
    targets = (
        str(node.target).split(".")[1] for node in graph.graph.nodes if node.op[:4] == "call"
    )
    return Counter(name for name in targets if name in ("bmm", "baddbmm", "mm"))


def test_a_shared_right_operand_makes_one_product() -> None:
    found = rewritten(lambda x, w: x @ w.expand(T, K, M), drawn(T, N, K), drawn(K, M))
    assert found == {"mm": 1}


def test_what_is_added_to_a_product_stays() -> None:
    def affine(x: Tensor, w: Tensor, b: Tensor) -> Tensor:
        return torch.baddbmm(b, x, w.expand(T, K, M))

    assert rewritten(affine, drawn(T, N, K), drawn(K, M), drawn(T, 1, M)) == {"mm": 1}


@pytest.mark.parametrize("shape", [(N, K, M), (N, 1, M), (N, K, 1)])
@pytest.mark.parametrize("factors", [{"alpha": -2}, {"beta": 3}, {"alpha": 0.5, "beta": 0.25}])
def test_factors_of_a_product_stay(shape: tuple[int, int, int], factors: dict[str, float]) -> None:
    n, k, m = shape
    tensors = drawn(T, n, 1), drawn(T, n, k), drawn(k, m)
    rewritten(lambda b, x, w: torch.baddbmm(b, x, w.expand(T, k, m), **factors), *tensors)


def test_a_product_that_is_there_already_is_not_computed_again() -> None:
    def twice(x: Tensor, y: Tensor) -> Tensor:
        return torch.bmm(x, y.mT).sin() + torch.bmm(x, y.mT).cos()

    assert rewritten(twice, drawn(T, N, K), drawn(T, M, K)) == {"bmm": 1}


def test_nor_is_its_transpose() -> None:
    def both(x: Tensor, y: Tensor) -> Tensor:
        return torch.bmm(x, y.mT).sin() + torch.bmm(y, x.mT).mT.cos()

    assert rewritten(both, drawn(T, N, K), drawn(T, M, K)) == {"bmm": 1}


def test_products_that_only_look_alike_are_both_computed() -> None:
    def apart(x: Tensor, y: Tensor) -> Tensor:
        return torch.bmm(x, y) + torch.bmm(y, x) + torch.bmm(x, y.mT) + torch.bmm(y, x.mT)

    assert rewritten(apart, drawn(T, N, N), drawn(T, N, N)) == {"bmm": 3}


def test_own_operands_stay_apart() -> None:
    assert rewritten(torch.bmm, drawn(T, N, K), drawn(T, K, M)) == {"bmm": 1}


@pytest.mark.parametrize("keep", [False, True])
def test_a_sum_of_products_is_one_product(keep: bool) -> None:
    def total(x: Tensor, y: Tensor, z: Tensor) -> Tensor:
        return (torch.bmm(x, y) + torch.bmm(y.mT, x.mT).mT + z).sum(0, keepdim=keep)

    assert rewritten(total, drawn(T, N, K), drawn(T, K, N), drawn(T, N, N)) == {"mm": 2}


def test_a_product_that_is_used_twice_is_kept() -> None:
    def twice(x: Tensor, y: Tensor) -> Tensor:
        product = torch.bmm(x, y)
        return product.sum(0) + product[0]

    assert rewritten(twice, drawn(T, N, K), drawn(T, K, M))["bmm"] == 1


def test_a_sum_over_another_axis_is_left_alone() -> None:
    def rows(x: Tensor, y: Tensor) -> Tensor:
        return torch.bmm(x, y).sum(1)

    assert rewritten(rows, drawn(T, N, K), drawn(T, K, M)) == {"bmm": 1}


@pytest.mark.parametrize("shape", [(1, K, M), (N, 1, M), (N, K, 1), (1, 1, 1)])
def test_an_axis_of_length_1_needs_no_product(shape: tuple[int, int, int]) -> None:
    n, k, m = shape
    assert rewritten(torch.bmm, drawn(T, n, k), drawn(T, k, m)) == {}
    added = drawn(T, 1, m)
    assert rewritten(torch.baddbmm, added, drawn(T, n, k), drawn(T, k, m)) == {}

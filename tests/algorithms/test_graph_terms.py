"""Products with weights that an inner step has moved, multiplied term by term."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx

from algorithms.graph_passes import simplified
from algorithms.graph_terms import multiplied_term_by_term

T, SHORT, LONG = 3, 4, 20


def drawn(*shape: int) -> Tensor:
    rng = torch.Generator().manual_seed(sum(shape))
    return torch.randn(shape, generator=rng, dtype=torch.float64)


def largest_product(function: Callable[..., Tensor], *inputs: Tensor) -> int:
    """Check that rewriting changes no result; return the entries of the largest batched product."""
    graph = simplified(make_fx(function)(*inputs))
    torch.testing.assert_close(graph(*inputs), function(*inputs), rtol=1e-12, atol=1e-12)
    products = [node for node in graph.graph.nodes if node.target == torch.ops.aten.bmm.default]
    return max((node.meta["val"][0].numel() for node in products), default=0)


def parts() -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Queries, a shared weight, gradients and features of few examples, a rate."""
    x, weight = drawn(T, SHORT, LONG), drawn(LONG, LONG)
    return x, weight, drawn(T, LONG, SHORT), drawn(T, SHORT, LONG), torch.tensor(0.3).double()


def test_a_moved_weight_is_never_computed() -> None:
    def through(x: Tensor, w: Tensor, g: Tensor, h: Tensor, rate: Tensor) -> Tensor:
        return x @ (w.expand(T, LONG, LONG) - rate * (g @ h))

    assert largest_product(through, *parts()) == SHORT * LONG


def test_transposed_negative_and_affine() -> None:
    def through(x: Tensor, w: Tensor, g: Tensor, h: Tensor, rate: Tensor) -> Tensor:
        moved = -(rate * (g @ h)).transpose(1, 2) + w.expand(T, LONG, LONG)
        return torch.baddbmm(x[:, :1], x, moved.transpose(1, 2))

    assert largest_product(through, *parts()) == SHORT * LONG


def test_a_rate_an_episode() -> None:
    def through(x: Tensor, w: Tensor, g: Tensor, h: Tensor, rate: Tensor) -> Tensor:
        rates = (rate + torch.arange(T)).reshape(T, 1, 1)
        return x @ (w.expand(T, LONG, LONG) - rates * (g @ h))

    assert largest_product(through, *parts()) == SHORT * LONG


def test_from_the_left() -> None:
    def through(x: Tensor, w: Tensor, g: Tensor, h: Tensor, rate: Tensor) -> Tensor:
        return (rate * (g @ h)) @ x.transpose(1, 2)

    assert largest_product(through, *parts()) == SHORT * LONG


def test_what_is_not_cheaper_stays() -> None:
    """With as many examples as features there is nothing to gain."""

    def through(x: Tensor, w: Tensor, g: Tensor, h: Tensor, rate: Tensor) -> Tensor:
        return x @ (w.expand(T, SHORT, SHORT) - rate * (g @ h))

    inputs = (drawn(T, SHORT, SHORT), drawn(SHORT, SHORT), drawn(T, SHORT, LONG))
    largest = largest_product(through, *inputs, drawn(T, LONG, SHORT), torch.tensor(0.3).double())
    assert largest == SHORT * SHORT


def test_rates_of_every_entry_are_left_alone() -> None:
    def through(x: Tensor, w: Tensor, g: Tensor, h: Tensor, rate: Tensor) -> Tensor:
        return x @ (w.expand(T, LONG, LONG) - w * (g @ h))

    assert largest_product(through, *parts()) == LONG * LONG


@pytest.mark.parametrize("steps", [1, 2, 5])
def test_many_steps_are_left_to_one_matrix(steps: int) -> None:
    def through(x: Tensor, w: Tensor, g: Tensor, h: Tensor, rate: Tensor) -> Tensor:
        moved = w.expand(T, LONG, LONG)
        for i in range(steps):
            moved = moved - rate * (((i + 1) * g) @ h)
        return x @ moved

    largest = largest_product(through, *parts())
    assert (largest == SHORT * LONG) == (steps == 1)


def test_only_products_are_rewritten() -> None:
    graph = make_fx(lambda x: x + x)(drawn(T, SHORT, LONG))
    before = str(graph.graph)
    for node in list(graph.graph.nodes):
        multiplied_term_by_term(graph.graph, node)
    assert str(graph.graph) == before

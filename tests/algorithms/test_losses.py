from __future__ import annotations

import math

import torch

from algorithms.parts.losses import (
    accuracy,
    cross_entropy,
    squared_error,
    symbol_cross_entropy,
)
from episodes.episode import IGNORED


def test_squared_error_is_a_mean_over_examples_and_dimensions() -> None:
    outputs = torch.tensor([[[1.0, 2.0], [0.0, 0.0]], [[1.0, 1.0], [1.0, 1.0]]])
    targets = torch.tensor([[[0.0, 0.0], [0.0, 3.0]], [[1.0, 1.0], [1.0, 1.0]]])
    assert squared_error(outputs, targets).tolist() == [(1 + 4 + 9) / 4, 0.0]


def test_cross_entropy_is_in_nats() -> None:
    logits = torch.tensor([[[0.0, 0.0], [math.log(3), 0.0]]], dtype=torch.float64)
    found = cross_entropy(logits, torch.tensor([[0, 0]]))
    torch.testing.assert_close(found, torch.tensor([(math.log(2) + math.log(4 / 3)) / 2]).double())


def test_accuracy_counts_the_largest_logits() -> None:
    logits = torch.tensor([[[2.0, 1.0], [0.0, 1.0]], [[1.0, 0.0], [1.0, 0.0]]])
    assert accuracy(logits, torch.tensor([[0, 0], [0, 0]])).tolist() == [0.5, 1.0]


def test_cross_entropy_of_symbols_is_a_mean_over_those_asked_for() -> None:
    rng = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 3, 4, 5, generator=rng, dtype=torch.float64)
    targets = torch.randint(5, (2, 3, 4), generator=rng)
    targets[0, 0, 1:] = targets[0, 1, 3:] = targets[1, 2, 2:] = IGNORED
    expected = []
    for episode in range(2):
        asked = [
            -logits[episode, example, place].log_softmax(-1)[symbol]
            for example in range(3)
            for place, symbol in enumerate(targets[episode, example].tolist())
            if symbol != IGNORED
        ]
        assert len(asked) in (8, 10)
        expected.append(torch.stack(asked).mean())
    torch.testing.assert_close(symbol_cross_entropy(logits, targets), torch.stack(expected))
    targets[:, :, 3] = IGNORED
    whole, shorter = (symbol_cross_entropy(each, targets) for each in (logits, logits[:, :, :3]))
    torch.testing.assert_close(whole, shorter)


def test_cross_entropy_of_symbols_has_exact_derivatives() -> None:
    rng = torch.Generator().manual_seed(1)
    logits = torch.randn(2, 2, 3, 4, generator=rng, dtype=torch.float64, requires_grad=True)
    targets = torch.tensor([[[1, 2, IGNORED], [3, IGNORED, IGNORED]], [[0, 0, 1], [2, 3, 1]]])

    def loss(values: torch.Tensor) -> torch.Tensor:
        return symbol_cross_entropy(values, targets)

    assert torch.autograd.gradcheck(loss, logits)
    assert torch.autograd.gradgradcheck(loss, logits)

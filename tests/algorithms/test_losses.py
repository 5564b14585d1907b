from __future__ import annotations

import math

import torch
import torch.nn.functional as F

from algorithms.parts.losses import (
    accuracy,
    cross_entropy,
    pixel_cross_entropy,
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


def masks() -> tuple[torch.Tensor, torch.Tensor]:
    """Logits and targets of 3 episodes; some pixels do not count, and of the last one none does."""
    rng = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(3, 2, 4, 5, 2, generator=rng, dtype=torch.float64)
    targets = torch.randint(0, 2, (3, 2, 4, 5), generator=rng)
    targets[0, 1] = targets[1, :, 2] = targets[2] = IGNORED
    return logits, targets


def test_pixel_cross_entropy_is_a_mean_over_the_pixels_that_count() -> None:
    logits, targets = masks()
    found = pixel_cross_entropy(logits, targets)
    for t in range(2):
        expected = F.cross_entropy(
            logits[t].flatten(0, 2), targets[t].flatten(), ignore_index=IGNORED
        )
        torch.testing.assert_close(found[t], expected, rtol=1e-12, atol=0)
    assert found[2] == 0


def test_pixel_cross_entropy_has_two_derivatives() -> None:
    logits, targets = masks()
    point = logits[:, :, :2, :2].clone().requires_grad_()

    def loss(values: torch.Tensor) -> torch.Tensor:
        return pixel_cross_entropy(values, targets[:, :, :2, :2])

    assert torch.autograd.gradcheck(loss, (point,))
    assert torch.autograd.gradgradcheck(loss, (point,))


def test_pixel_cross_entropy_of_large_logits_is_finite() -> None:
    logits = torch.tensor([0.0, 400.0]).expand(1, 1, 1, 2, 2)
    assert pixel_cross_entropy(logits, torch.tensor([[[[1, 0]]]])).tolist() == [200.0]


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

from __future__ import annotations

import math

import torch

from algorithms.parts.losses import accuracy, cross_entropy, squared_error


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

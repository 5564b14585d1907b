"""Losses and scores, one number an episode."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from episodes.episode import IGNORED
from episodes.iou import foreground_iou
from episodes.kinds import Kind, Score


@dataclass(frozen=True)
class Loss:
    """per_episode: (outputs (T, N, ...), targets) -> (T,), mean over the N examples.

    name, score: what else the outputs are judged by, 0 to 1, larger is better, and a function like
        `per_episode`; both None where there is nothing else.
    """

    per_episode: Callable[[Tensor, Tensor], Tensor]
    name: Score | None = None
    score: Callable[[Tensor, Tensor], Tensor] | None = None


def squared_error(outputs: Tensor, targets: Tensor) -> Tensor:
    """Mean squared error of outputs and targets (T, N, D), as (T,)."""
    return (outputs - targets).square().flatten(1).mean(1)


def cross_entropy(outputs: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy of logits (T, N, ways) and labels (T, N), as (T,), in nats."""
    losses = F.cross_entropy(outputs.flatten(0, 1), targets.flatten(), reduction="none")
    return losses.view_as(targets).mean(1)


def symbol_cross_entropy(outputs: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy of logits (T, N, L', symbols) and symbols (T, N, L), as (T,), in nats.

    A mean over all symbols of an episode that are asked for, so that a long sentence counts for
    more than a short one. L' may be smaller than L where nothing is asked behind it.
    """
    asked = targets[:, :, : outputs.shape[2]]
    losses = F.cross_entropy(
        outputs.flatten(0, 2), asked.flatten(), ignore_index=IGNORED, reduction="none"
    )
    counts = (asked != IGNORED).flatten(1).sum(1)
    return losses.view(len(outputs), -1).sum(1) / counts


def accuracy(outputs: Tensor, targets: Tensor) -> Tensor:
    """Share of the N examples whose largest logit is their label's, as (T,)."""
    return (outputs.argmax(-1) == targets).to(outputs.dtype).mean(1)


def pixel_cross_entropy(outputs: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy of the pixels of all N examples that are not IGNORED, as (T,), in nats.

    outputs: (T, N, H, W, 2) logits; targets: (T, N, H, W), 0 or 1. An episode without a pixel that
    counts has a loss of 0. Of two logits only the difference matters, so that this is the binary
    cross-entropy of one logit.
    """
    counted = (targets != IGNORED).to(outputs.dtype)
    losses = F.binary_cross_entropy_with_logits(
        outputs[..., 1] - outputs[..., 0],
        (targets == 1).to(outputs.dtype),
        weight=counted,
        reduction="none",
    )
    return losses.flatten(1).sum(1) / counted.flatten(1).sum(1).clamp(min=1)


REGRESSION = Loss(squared_error)
CLASSIFICATION = Loss(cross_entropy, "accuracy", accuracy)
TRANSLATION = Loss(symbol_cross_entropy)

SEGMENTATION = Loss(pixel_cross_entropy, "iou", foreground_iou)

LOSSES: dict[Kind, Loss] = {
    "classification": CLASSIFICATION,
    "regression": REGRESSION,
    "segmentation": SEGMENTATION,
    "translation": TRANSLATION,
}

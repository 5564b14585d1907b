"""The episode: what every algorithm learns from and is judged on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from episodes.counter_rng import Key, stream_key
from episodes.errors import DataError
from episodes.kinds import Kind as Kind
from episodes.whole_numbers import whole_number

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")
IGNORED = -100
"""A target that neither loss nor score counts, as torch's losses call it."""


@dataclass(frozen=True)
class Examples:
    """Examples of T episodes, N of each.

    inputs: (T, N, *input_shape), floating point, or int64 where they are symbols.
    targets: (T, N) int64 labels in 0..ways-1 for classification, (T, N, D) floats for regression.
        Segmentation: (T, N, H, W) int64, 0 or 1 at each pixel. Translation: (T, N, L) int64, the
        symbols. IGNORED where nothing is asked.
    """

    inputs: Tensor
    targets: Tensor

    def __getitem__(self, episodes: slice) -> Examples:
        return Examples(self.inputs[episodes], self.targets[episodes])

    def to(self, device: torch.device | str, dtype: torch.dtype) -> Examples:
        """Move to a device; floating point tensors are cast to `dtype`."""
        return Examples(_cast(self.inputs, device, dtype), _cast(self.targets, device, dtype))


def _cast(values: Tensor, device: torch.device | str, dtype: torch.dtype) -> Tensor:
    return values.to(device, dtype) if values.is_floating_point() else values.to(device)


@dataclass(frozen=True)
class Episodes:
    """A batch of T few-shot episodes.

    support, query: what to adapt on and what to judge by.
    classes: (T, ways) int64, the id of each label's class within its split: label k of episode t is
        class `classes[t, k]`. (T, 1) for segmentation, the class that is 1, and for
        translation, the language; (T, 0) for regression.
    index: (T,) int64, the episode's index in its split.
    """

    support: Examples
    query: Examples
    classes: Tensor
    index: Tensor

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, episodes: slice) -> Episodes:
        return Episodes(
            self.support[episodes],
            self.query[episodes],
            self.classes[episodes],
            self.index[episodes],
        )

    def split(self, size: int) -> list[Episodes]:
        """Cut into batches of `size` episodes, the last of what is left."""
        whole, left = divmod(len(self), size)
        sizes = [size] * whole + [left] * (left > 0) or [0]
        tensors = (
            self.support.inputs,
            self.support.targets,
            self.query.inputs,
            self.query.targets,
            self.classes,
            self.index,
        )
        return [
            Episodes(Examples(sx, sy), Examples(qx, qy), classes, index)
            for sx, sy, qx, qy, classes, index in zip(
                # A third faster than Tensor.split.
                *(torch.split_with_sizes(tensor, sizes) for tensor in tensors),
                strict=True,
            )
        ]

    def to(self, device: torch.device | str, dtype: torch.dtype = torch.float32) -> Episodes:
        """Move to a device; inputs and targets of floating point are cast to `dtype`."""
        return Episodes(
            self.support.to(device, dtype),
            self.query.to(device, dtype),
            self.classes.to(device),
            self.index.to(device),
        )


def joined(batches: Sequence[Episodes]) -> Episodes:
    """Return the episodes of several batches as one, in order."""
    if len(batches) == 1:
        return batches[0]

    def examples(parts: list[Examples]) -> Examples:
        inputs = torch.cat([part.inputs for part in parts])
        return Examples(inputs, torch.cat([part.targets for part in parts]))

    return Episodes(
        examples([batch.support for batch in batches]),
        examples([batch.query for batch in batches]),
        torch.cat([batch.classes for batch in batches]),
        torch.cat([batch.index for batch in batches]),
    )


def index_array(indices: np.ndarray | range) -> np.ndarray:
    """Return the indices of episodes as an array of their own, (T,) int64."""
    if isinstance(indices, range):
        # numpy reads a range number by number.
        return np.arange(indices.start, indices.stop, indices.step, dtype=np.int64)
    return np.array(indices, dtype=np.int64)


def episode_key(stream: str, split: str, seed: int) -> Key:
    """Return the key of a split's episodes with a seed, as `counter_rng.stream_key` does.

    Raises DataError, naming the argument, for what is no split, or no whole number: each would
    be a stream of its own, which nobody meant.
    """
    if split not in SPLITS:
        raise DataError(f"split: {split!r}: must be one of {', '.join(SPLITS)}")
    return stream_key(stream, split, seed if type(seed) is int else whole_number("seed", seed))


@runtime_checkable
class SamplesOnDevice(Protocol):
    """A distribution that can make examples where they are needed."""

    def sampling_on(self, device: torch.device) -> TaskDistribution:
        """Return the same episodes with their examples, not their classes, on a device."""
        ...


def sampling_on(distribution: TaskDistribution, device: torch.device) -> TaskDistribution:
    """Let a distribution make its examples on a device, if it can; all can be moved later."""
    if isinstance(distribution, SamplesOnDevice):
        return distribution.sampling_on(device)
    return distribution


@runtime_checkable
class Measures(Protocol):
    """A distribution whose meta-test episodes are judged by more than their loss and score.

    measures: names of what `measure` returns, beginning with what says most.
    """

    measures: tuple[str, ...]

    def measure(self, predict: Callable[[Tensor], Tensor], query: Examples) -> dict[str, Tensor]:
        """Judge T adapted networks: (T,) values by name.

        predict: query inputs (T, N, *input_shape) -> outputs (T, N, ...) of these networks.
        """
        ...


class TaskDistribution(Protocol):
    """Where episodes come from. An episode depends only on (split, seed, index).

    name: "sinusoid", "omniglot", ...
    input_shape: shape of one example, (1,) or (channels, height, width).
    outputs: what a network must emit for an example, or for each of its pixels or symbols: as many
        logits as there are labels, or the dimension of the target.
    train_classes: number of meta-train classes that labels tell apart; None where they tell none.
    digest: hex digest of the data and the split; equal data gives an equal digest anywhere.
    """

    name: str
    kind: Kind
    input_shape: tuple[int, ...]
    outputs: int
    train_classes: int | None
    digest: str

    def sample(self, split: Split, seed: int, indices: np.ndarray | range) -> Episodes:
        """Draw the episodes with these indices, as a batch."""
        ...

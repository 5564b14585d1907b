"""The network record: what adapts, as pure functions over a dictionary of tensors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import torch
from torch import Tensor

Params = dict[str, Tensor]
Statistics = dict[str, tuple[Tensor, Tensor]]
"""Mean and variance by layer, each (T, channels), or (channels,) where stored ones are shared."""


class Features(Protocol):
    """Everything up to the last layer."""

    def __call__(
        self,
        params: Params,
        inputs: Tensor,
        statistics: Statistics | None = None,
        collect: bool = False,
    ) -> tuple[Tensor, Statistics]:
        """Map inputs (T, N, *input_shape) to features (T, N, F), or (T, N, H, W, F) of pixels.

        With `statistics` batch normalization uses these; without, those of the N examples of each
        episode. `collect` also returns the latter, at the cost of one more pass over the maps.
        """
        ...


@dataclass(frozen=True)
class Network:
    """A network with an explicit episode axis.

    Every function takes T episodes at once. Each parameter is either shared by them, with its
    plain shape, or one per episode, with a leading axis T; the two can be mixed, so a frozen body
    runs as one dense batch below heads that differ.

    init: random generator -> shared parameters, float32.
    features: see `Features`.
    head: (parameters, features) -> outputs (T, N, outputs), or (T, N, H, W, outputs) of pixels.
    head_names: the parameters that `head` reads, weight (outputs, F) first.
    batch_normalized: whether outputs depend on the other examples of the batch.
    grouped: layers with a weight whose outputs each see only some of the inputs.
    """

    name: str
    init: Callable[[torch.Generator], Params]
    features: Features
    head: Callable[[Params, Tensor], Tensor]
    head_names: tuple[str, ...]
    batch_normalized: bool
    grouped: tuple[str, ...] = ()

    @cached_property
    def shapes(self) -> dict[str, torch.Size]:
        """Shapes of the shared parameters, by name, in the order of the layers."""
        return {name: value.shape for name, value in self.init(torch.Generator()).items()}

    def __call__(
        self, params: Params, inputs: Tensor, statistics: Statistics | None = None
    ) -> Tensor:
        """Map inputs (T, N, *input_shape) to outputs (T, N, outputs), or those of pixels."""
        features, _ = self.features(params, inputs, statistics)
        return self.head(params, features)

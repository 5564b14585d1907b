"""The arguments of a meta-gradient as a flat list of tensors, for programs that are made once."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from algorithms.algorithm import Algorithm, Hyper
from algorithms.replicas import Results, direct
from episodes.episode import Episodes, Examples
from networks.network import Params

OF_TRAINING = ("meta_batch_size", "inner_steps_evaluation")
"""Counts that no meta-gradient depends on."""


class Arguments:
    """What a meta-gradient is computed of, as a flat list of tensors, and back."""

    def __init__(self, meta: Params, state: Params, hyper: Hyper, episodes: Episodes, keys: Tensor):
        self._dictionaries: list[Params] = [
            meta,
            state,
            {name: value for name, value in hyper.items() if isinstance(value, Tensor)},
        ]
        self._counts = {
            name: int(value)
            for name, value in hyper.items()
            if not isinstance(value, Tensor) and name not in OF_TRAINING
        }
        support, query = episodes.support, episodes.query
        self._rest = [
            support.inputs,
            support.targets,
            query.inputs,
            query.targets,
            episodes.classes,
            episodes.index,
            keys,
        ]

    @property
    def device(self) -> torch.device:
        """Where the episodes are."""
        return self._rest[0].device

    def tensors(self) -> list[Tensor]:
        """Return all tensors, contiguous, in a fixed order.

        A compiled program reads its inputs by the strides of those that it was made with, and looks
        at none: what had others would be read wrongly without a word, and past its end.
        """
        flat = [each[name] for each in self._dictionaries for name in each]
        return [tensor.contiguous() for tensor in (*flat, *self._rest)]

    def quick_signature(self) -> tuple[Any, ...]:
        """Return what tells apart the batches of one algorithm on one problem."""
        support, query = self._rest[0], self._rest[2]
        numbers = self._dictionaries[2]
        return (
            support.shape,
            query.shape,
            support.dtype,
            support.device.type,
            *(tuple(each) for each in self._dictionaries),
            tuple([value.shape for value in numbers.values()]),
            tuple(self._counts.items()),
        )

    def signature(self) -> list[Any]:
        """Return names, shapes, types and counts: what a program is made for."""
        return [
            [list(each) for each in self._dictionaries],
            [[list(t.shape), str(t.dtype), t.device.type] for t in self.tensors()],
            sorted(self._counts.items()),
        ]

    def call(
        self, algorithm: Algorithm, tensors: tuple[Tensor, ...], replicas: int | None
    ) -> Results:
        """Compute a meta-gradient of other tensors in the same order."""
        values = iter(tensors)
        meta, state, numbers = ({name: next(values) for name in d} for d in self._dictionaries)
        sx, sy, qx, qy, classes, index, keys = values
        episodes = Episodes(Examples(sx, sy), Examples(qx, qy), classes, index)
        return direct(algorithm, meta, state, {**numbers, **self._counts}, episodes, keys, replicas)

"""How a batch of episodes is run: the one place that chooses a formulation.

Every algorithm takes any number of episodes at once, along an explicit axis. What is left to choose
is how many. A small network is bound by overhead and wants all of them; convolutions on a CPU are
bound by their kernels and want few, which also holds the memory of second-order gradients down.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass

import torch

from algorithms.algorithm import Algorithm, Diagnostics, Hyper
from episodes.episode import Episodes
from networks.network import Params

CONVOLUTIONS_ON_CPU = 4
CONVOLUTIONS_ON_GPU = 32
VECTORS = 1024


@dataclass(frozen=True)
class Formulation:
    """Fixed when a trial starts and recorded with it, so that the trial can be repeated.

    chunk: episodes that run as one batch.
    """

    chunk: int

    def to_dict(self) -> dict[str, int]:
        """Return the formulation as JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, value: Mapping[str, int]) -> Formulation:
        """Read what `to_dict` wrote. Raises TypeError on anything else."""
        return cls(**value)


def choose(input_shape: tuple[int, ...], device: torch.device) -> Formulation:
    """Choose a formulation by the kind of input and the device. `benchmarks.engine` measures it."""
    if len(input_shape) == 1:
        return Formulation(VECTORS)
    return Formulation(CONVOLUTIONS_ON_CPU if device.type == "cpu" else CONVOLUTIONS_ON_GPU)


def chunks(episodes: Episodes, size: int) -> Iterator[Episodes]:
    """Cut a batch into batches of at most `size` episodes, in order."""
    for first in range(0, len(episodes), size):
        yield episodes[first : first + size]


def meta_gradients(
    algorithm: Algorithm,
    formulation: Formulation,
    meta: Params,
    state: Params,
    hyper: Hyper,
    episodes: Episodes,
    rng: torch.Generator,
) -> tuple[Params, Params, Diagnostics]:
    """Return the algorithm's meta-gradients over all episodes, computed chunk by chunk.

    The mean of the chunks' gradients, weighted by their sizes, is the gradient of the whole. An
    algorithm that is not separable runs in one piece.
    """
    size = formulation.chunk if algorithm.separable else len(episodes)
    if len(episodes) <= size:
        return algorithm.meta_gradients(meta, state, hyper, episodes, rng)
    total: Params = {}
    parts: list[Diagnostics] = []
    for chunk in chunks(episodes, size):
        gradients, state, diagnostics = algorithm.meta_gradients(meta, state, hyper, chunk, rng)
        weight = len(chunk) / len(episodes)
        for name, gradient in gradients.items():
            total[name] = total[name] + weight * gradient if name in total else weight * gradient
        parts.append(diagnostics)
    joined = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
    return total, state, joined

"""How a batch of episodes is run: the one place that chooses a formulation.

Every algorithm takes any number of episodes at once, along an explicit axis. What is left to choose
is how many, and whether a compiled program runs them. A small network is bound by overhead and
wants all of them, compiled where the budget repays it; convolutions on a CPU are bound by their
kernels and want few, which also holds the memory of second-order gradients down (`fitted`). So does
a transformer over sentences: its products are large, and its shapes follow the sentences, so that a
compiled program would hardly meet the same ones twice.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from algorithms.algorithm import Algorithm, Diagnostics, Hyper
from algorithms.memory import bytes_held
from algorithms.programs import Programs
from algorithms.replicas import direct, in_groups
from episodes.episode import Episodes
from networks.network import Params

CONVOLUTIONS_ON_CPU = 8
MEGABYTES_ON_CPU = 32
CONVOLUTIONS_ON_GPU = 32
VECTORS = 1024
TOGETHER = 256

COMPILE_SECONDS = 15.0
SAVED_SECONDS = 5e-4
"""Measured by `python -m benchmarks.engine`: what compiling takes, and what a compiled batch of a
small network saves."""


@dataclass(frozen=True)
class Formulation:
    """Fixed when a trial starts and recorded with it, so that the trial can be repeated.

    chunk: episodes that run as one batch.
    compiled: whether whole chunks run as a compiled program; smaller rests never do.
    memory_mb: what a chunk may hold for its derivatives, in MB; None for any amount. See `fitted`.
    together: episodes of several replicas that run as one batch; fewer than two replicas' run each
        by itself.
    """

    chunk: int
    compiled: bool = False
    together: int = 1
    memory_mb: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the formulation as JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Formulation:
        """Read what `to_dict` wrote. Raises TypeError on anything else."""
        return cls(**value)


def choose(
    input_shape: tuple[int, ...],
    device: torch.device,
    batches: int | None = None,
    memory_mb: int | None = None,
    *,
    symbols: bool = False,
) -> Formulation:
    """Choose a formulation. `python -m benchmarks.engine` measures what this rests on.

    batches: meta-batches that will be run; None where that is not known, then nothing is compiled.
    memory_mb: what a chunk may hold for its derivatives.
    symbols: whether inputs are sentences; otherwise those with one axis are vectors.
    """
    if len(input_shape) == 1 and not symbols:
        repaid = batches is not None and batches * SAVED_SECONDS > COMPILE_SECONDS
        return Formulation(VECTORS, repaid, 1 if repaid else TOGETHER, memory_mb)
    if device.type != "cpu":
        return Formulation(CONVOLUTIONS_ON_GPU, memory_mb=memory_mb)
    # More at once is no faster: a large convolution alone keeps a core busy.
    return Formulation(
        CONVOLUTIONS_ON_CPU, memory_mb=min(memory_mb or MEGABYTES_ON_CPU, MEGABYTES_ON_CPU)
    )


def fitted(
    formulation: Formulation,
    algorithm: Algorithm,
    meta: Params,
    state: Params,
    hyper: Hyper,
    episode: Episodes,
    keys: Tensor,
) -> Formulation:
    """Return the formulation with a chunk that its memory holds, at least one episode.

    So `meta_batch_size` never decides whether a trial fits. episode: one, which is run to measure
    what it takes; an algorithm that is not separable stays in one piece.
    """
    if formulation.memory_mb is None or not algorithm.separable:
        return formulation
    held = bytes_held(algorithm, meta, state, hyper, episode, keys)
    room = int(formulation.memory_mb * 1e6 // max(held, 1))
    return replace(formulation, chunk=max(1, min(formulation.chunk, room)))


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
    keys: Tensor,
    programs: Programs | None = None,
    replicas: int | None = None,
) -> tuple[Params, Params, Diagnostics]:
    """Return the algorithm's meta-gradients over all episodes, computed chunk by chunk.

    The mean of the chunks' gradients, weighted by their sizes, is the gradient of the whole; so is
    the state, since each chunk starts from the same one and moves it by a mean over its episodes.
    An algorithm that is not separable runs in one piece.
    programs: where compiled programs are kept; needed where the formulation is compiled.
    replicas: None, or how many configurations are stacked; see `algorithms.replicas.direct`. Few
        episodes of several run as one batch, which costs little more than those of one.
    """
    if replicas is not None:
        return in_groups(
            partial(meta_gradients, algorithm, formulation, programs=programs),
            algorithm,
            formulation.together if algorithm.separable else 1,
            meta,
            state,
            hyper,
            episodes,
            keys,
            replicas,
        )
    size = formulation.chunk if algorithm.separable else len(episodes)
    usual = min(size, int(hyper.get("meta_batch_size", len(episodes))))

    def run(part: Episodes, own: Tensor) -> tuple[Params, Params, Diagnostics]:
        whole = len(part) == usual
        if formulation.compiled and programs is not None and whole:
            return programs.run(algorithm, meta, state, hyper, part, own)
        return direct(algorithm, meta, state, hyper, part, own)

    if len(episodes) <= size:
        return run(episodes, keys)
    gradients: Params = {}
    after: Params = {}
    parts: list[Diagnostics] = []
    for chunk, own in zip(chunks(episodes, size), keys.split(size), strict=True):
        part_gradients, part_state, diagnostics = run(chunk, own)
        weight = len(chunk) / len(episodes)
        _add(gradients, part_gradients, weight)
        _add(after, part_state, weight)
        parts.append(diagnostics)
    joined = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
    return gradients, after, joined


def _add(total: Params, values: Params, weight: float) -> None:
    for name, value in values.items():
        total[name] = total[name] + weight * value if name in total else weight * value

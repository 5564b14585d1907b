"""How a batch of episodes is run: the one place that chooses a formulation.

Every algorithm takes any number of episodes at once, along an explicit axis. What is left to choose
is how many, whether a compiled program or a captured graph runs them, and how exactly.

On a CPU a fully connected network is bound by overhead, on images too, and wants all of them,
compiled where the budget repays it; convolutions are bound by their kernels and want few, which
also holds the memory of second-order gradients down (`fitted`). So does a transformer over
sentences: its products are large, and its shapes follow the sentences, so that a compiled program
would hardly meet the same ones twice. On a GPU starting the kernels takes longer than most of them
run: all but sentences is captured and replayed, and convolutions round as far as the meta-gradient
allows (`exact_enough`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor

from algorithms.algorithm import Algorithm, Diagnostics, Hyper
from algorithms.cuda_graphs import CudaGraphs
from algorithms.memory import bytes_held, device_megabytes
from algorithms.parts.queries import queries_at_once
from algorithms.precision import Precision, computing_in
from algorithms.programs import Programs, can_compile
from algorithms.replicas import Results, direct, in_groups
from episodes.episode import Episodes, joined
from networks.network import Params

CONVOLUTIONS_ON_CPU = 8
MEGABYTES_AT_ONCE = 32
"""What episodes may hold for their derivatives where support and query sets pass together, of
convolutions on a CPU. More is no faster: a large convolution alone keeps a core busy."""
MEGABYTES_ON_CPU = 128
"""The same where query sets pass a few at a time. Support sets are small: more of them at once are
faster."""
SUPPORT_SETS_AT_ONCE = 4
"""The most in that case: each takes memory that is not held for a derivative, too."""
WORTH_IT = 0.25
"""Part of what an episode holds that must be its query set's, for these to pass a few at a time."""
CONVOLUTIONS_ON_GPU = 32
VECTORS = 1024
TOGETHER = 256

CAPTURED_FROM = 50
"""Meta-batches that repay the capture of a graph, which takes as long as some of them."""
MOST_ERROR = 1e-2
"""Relative error of a meta-gradient that rounded products may cause."""

COMPILE_SECONDS = 15.0
SAVED_SECONDS = 5e-4
"""Measured by `python -m benchmarks.engine`: what compiling takes, and what a compiled batch of a
small network saves."""
SAVED_BY_ANOTHER = 1 / 4
"""Measured by `python -m benchmarks.replicas`: what compiling saves for each further replica, as a
part of that. Uncompiled ones cost less each the more run at once."""


@dataclass(frozen=True)
class Formulation:
    """Fixed when a trial starts and recorded with it, so that the trial can be repeated.

    chunk: episodes that run as one batch.
    compiled: whether whole chunks run as a compiled program; smaller rests never do.
    captured: whether they run as a CUDA graph; the same holds.
    memory_mb: what a chunk may hold for its derivatives, in MB; None for any amount. See `fitted`.
    gpu_share: the same as a share of the memory of the GPU that the trial gets, where `memory_mb`
        does not say.
    together: episodes of several replicas that run as one batch; fewer than two replicas' run each
        by itself.
    precision: of products in training, on a GPU. Whatever it is, judging is done in "float32".
    queries: episodes of a chunk whose query sets pass at once, where the algorithm allows it; None
        for all. See `algorithms.parts.queries`.
    """

    chunk: int
    compiled: bool = False
    together: int = 1
    memory_mb: int | None = None
    captured: bool = False
    precision: Precision = "float32"
    gpu_share: float | None = None
    queries: int | None = None

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
    gpu_share: float | None = None,
    symbols: bool = False,
    fully_connected: bool = False,
    replicas: int = 1,
) -> Formulation:
    """Choose a formulation. `python -m benchmarks.engine` measures what this rests on.

    batches: meta-batches that each replica will run; None where that is not known, then nothing is
        compiled or captured.
    memory_mb, gpu_share: what a chunk may hold for its derivatives; see `Formulation`.
    symbols: whether inputs are sentences.
    fully_connected: whether the network has no other layers, of whatever shape inputs are. That of
        vectors, inputs with one axis that are no sentences, counts as such.
    """
    vectors = fully_connected or (len(input_shape) == 1 and not symbols)
    if device.type != "cpu":
        size = VECTORS if vectors else CONVOLUTIONS_ON_GPU
        wanted = Formulation(
            size,
            together=size,
            memory_mb=memory_mb,
            captured=not symbols and batches is not None and batches >= CAPTURED_FROM,
            precision="float32" if vectors else "tf32",
            gpu_share=gpu_share,
        )
        return possible(wanted, device)
    if vectors:
        saved = SAVED_SECONDS * (1 + (replicas - 1) * SAVED_BY_ANOTHER)
        repaid = batches is not None and batches * saved > COMPILE_SECONDS
        together = 1 if repaid else TOGETHER
        return Formulation(VECTORS, compiled=repaid, together=together, memory_mb=memory_mb)
    most = min(memory_mb or MEGABYTES_ON_CPU, MEGABYTES_ON_CPU)
    # `fitted` finds how many query sets, or that all may pass at once.
    return Formulation(CONVOLUTIONS_ON_CPU, memory_mb=most, queries=1)


def possible(formulation: Formulation, device: torch.device) -> Formulation:
    """Return the formulation without what a device lacks, whoever it was chosen for.

    Programs are compiled for a CPU, where there is a compiler; graphs are a GPU's, and so is the
    choice of how exactly to multiply. Query sets pass by themselves on a CPU alone.
    """
    on_gpu = device.type == "cuda"
    if formulation.compiled and (device.type != "cpu" or not can_compile()):
        formulation = _uncompiled(formulation)
    return replace(
        formulation,
        captured=formulation.captured and on_gpu,
        precision=formulation.precision if on_gpu else "float32",
        queries=formulation.queries if device.type == "cpu" else None,
    )


def unprepared(formulation: Formulation) -> Formulation:
    """Return the formulation as it is run where it cannot be compiled, or captured, after all."""
    found = _uncompiled(formulation) if formulation.compiled else formulation
    return replace(found, captured=False)


def smaller(formulation: Formulation, batch: int, part: float) -> Formulation:
    """Return the formulation with such a part of the memory for a meta-batch, or all it can do."""
    if formulation.queries is not None:  # Most of it is one query set's.
        return replace(formulation, chunk=1, together=1, queries=1)
    return replace(formulation, chunk=max(1, int(min(formulation.chunk, batch) * part)), together=1)


def _uncompiled(formulation: Formulation) -> Formulation:
    # Compiled replicas run one by one. Others share a batch.
    return replace(formulation, compiled=False, together=min(TOGETHER, formulation.chunk))


def fitted(
    formulation: Formulation,
    algorithm: Algorithm,
    meta: Params,
    state: Params,
    hyper: Hyper,
    episode: Episodes,
    keys: Tensor,
) -> Formulation:
    """Return the formulation with batches that its memory holds, of at least one episode.

    So `meta_batch_size` never decides whether a trial fits. episode: one, which is run to measure
    what it takes, by itself and beside copies of itself; an algorithm that is not separable stays
    in one piece.
    """
    total = device_megabytes(episode.index.device)
    if formulation.memory_mb is None and formulation.gpu_share is not None and total is not None:
        formulation = replace(formulation, memory_mb=max(1, int(total * formulation.gpu_share)))
    if formulation.memory_mb is None or not algorithm.separable:
        return formulation
    held = max(bytes_held(algorithm, meta, state, hyper, episode, keys), 1)
    if formulation.queries is not None:

        def held_by(count: int, queries: int) -> int:
            several = joined([episode] * count), keys.repeat(count)
            with queries_at_once(queries):
                return bytes_held(algorithm, meta, state, hyper, *several)

        return _piecewise(formulation, held, held_by)
    room = int(formulation.memory_mb * 1e6 // held)
    return replace(
        formulation,
        chunk=max(1, min(formulation.chunk, room)),
        together=max(1, min(formulation.together, room)),
    )


def _piecewise(
    formulation: Formulation, held: int, held_by: Callable[[int, int], int]
) -> Formulation:
    """Return the formulation with chunks that fit while query sets pass a few at a time.

    held: bytes, of an episode that passes as a whole.
    held_by: returns those of so many episodes, of which so many query sets pass at once.
    """
    assert formulation.memory_mb is not None
    limits = MEGABYTES_ON_CPU, MEGABYTES_AT_ONCE
    most, few = (1e6 * min(formulation.memory_mb, limit) for limit in limits)
    whole = max(1, min(formulation.chunk, int(few // held)))
    as_a_whole = replace(formulation, chunk=whole, queries=None)
    if whole == formulation.chunk:
        return as_a_whole
    one = held_by(1, 1)
    if one > most:
        return as_a_whole if one > 0.9 * held else replace(formulation, chunk=1, queries=1)
    two = held_by(2, 1)
    more = max(two - one, 1)
    query = one - more
    if query < WORTH_IT * one:
        return as_a_whole
    queries = min(max(1, int(few // query)), formulation.chunk, SUPPORT_SETS_AT_ONCE)
    room = 1 + max(0, int((most - one - (queries - 1) * query) // more))
    chunk = min(formulation.chunk, SUPPORT_SETS_AT_ONCE, room)
    if chunk > 2 and (found := held_by(chunk, queries)) > most:
        # What is held most of is something else by now. It grows no slower than a line.
        queries = 1
        chunk = 2 + max(0, int((most - two) * (chunk - 2) // (found - two)))
    if chunk < whole or (chunk == whole and one > 0.9 * held):
        return as_a_whole
    return replace(formulation, chunk=chunk, queries=min(queries, chunk))


def exact_enough(
    formulation: Formulation,
    algorithm: Algorithm,
    meta: Params,
    state: Params,
    hyper: Hyper,
    episodes: Episodes,
    keys: Tensor,
) -> Formulation:
    """Return the formulation with a precision that leaves the meta-gradient as it is.

    That is where it moves the meta-gradient of these episodes, a meta-batch, by no more than
    MOST_ERROR of its length; else, or where that is no number, products are exact.
    """
    if formulation.precision == "float32":
        return formulation
    here = (meta, state, hyper, episodes, keys)
    exact, rounded = (
        meta_gradients(algorithm, replace(formulation, captured=False, precision=each), *here)[0]
        for each in ("float32", formulation.precision)
    )
    error = sum(float((rounded[name] - value).square().sum()) for name, value in exact.items())
    length = sum(float(value.square().sum()) for value in exact.values())
    if error <= MOST_ERROR**2 * length:
        return formulation
    return replace(formulation, precision="float32")


class Prepared(Protocol):
    """What runs whole chunks faster: `Programs`, or `CudaGraphs`."""

    def run(
        self,
        algorithm: Algorithm,
        meta: Params,
        state: Params,
        hyper: Hyper,
        episodes: Episodes,
        keys: Tensor,
        replicas: int | None = None,
    ) -> Results:
        """Return what `algorithms.replicas.direct` returns. Raises PreparationError."""
        ...


def prepared(formulation: Formulation, identity: str) -> Prepared | None:
    """Return what a formulation needs to run, empty; None where that is nothing.

    identity: JSON text that tells this algorithm, network and problem from every other.
    """
    if formulation.captured:
        return CudaGraphs()
    return Programs(identity) if formulation.compiled else None


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
    ready: Prepared | None = None,
    replicas: int | None = None,
) -> tuple[Params, Params, Diagnostics]:
    """Return the algorithm's meta-gradients over all episodes, computed chunk by chunk.

    The mean of the chunks' gradients, weighted by their sizes, is the gradient of the whole; so is
    the state, since each chunk starts from the same one and moves it by a mean over its episodes.
    An algorithm that is not separable runs in one piece.
    ready: what `prepared` returned, used for whole chunks; without it nothing is compiled or
        captured.
    replicas: None, or how many configurations are stacked; see `algorithms.replicas.direct`. Few
        episodes of several run as one batch, which costs little more than those of one.
    """
    each = len(episodes) // (replicas or 1)
    expected = int(hyper.get("meta_batch_size", each))

    def at_once(
        meta: Params, state: Params, hyper: Hyper, part: Episodes, own: Tensor, count: int | None
    ) -> Results:
        """Run one chunk, or `count` replicas, prepared if it is of a size that comes often."""
        size = len(part) // (count or 1)
        often = expected if count else _even(expected, formulation.chunk, algorithm)
        if ready is not None and size == often:
            return ready.run(algorithm, meta, state, hyper, part, own, count)
        return direct(algorithm, meta, state, hyper, part, own, count)

    def alone(
        meta: Params, state: Params, hyper: Hyper, episodes: Episodes, keys: Tensor
    ) -> Results:
        return meta_gradients(algorithm, formulation, meta, state, hyper, episodes, keys, ready)

    with (
        computing_in(formulation.precision, episodes.index.device),
        queries_at_once(formulation.queries),
    ):
        if replicas is None:
            size = _even(len(episodes), formulation.chunk, algorithm)
            return _in_chunks(
                partial(at_once, count=None), size, meta, state, hyper, episodes, keys
            )
        return in_groups(
            at_once,
            alone,
            formulation.together if algorithm.separable else 1,
            (meta, state, hyper, episodes, keys),
            replicas,
        )


def _even(episodes: int, chunk: int, algorithm: Algorithm) -> int:
    """Return the size of as few chunks as need be, so that they are of one size if possible."""
    if not algorithm.separable or episodes <= chunk:
        return episodes
    return -(-episodes // -(-episodes // chunk))


def _in_chunks(
    run: Callable[[Params, Params, Hyper, Episodes, Tensor], Results],
    size: int,
    meta: Params,
    state: Params,
    hyper: Hyper,
    episodes: Episodes,
    keys: Tensor,
) -> Results:
    if len(episodes) <= size:
        return run(meta, state, hyper, episodes, keys)
    gradients: Params = {}
    after: Params = {}
    parts: list[Diagnostics] = []
    for chunk, own in zip(chunks(episodes, size), keys.split(size), strict=True):
        part_gradients, part_state, diagnostics = run(meta, state, hyper, chunk, own)
        weight = len(chunk) / len(episodes)
        _add(gradients, part_gradients, weight)
        _add(after, part_state, weight)
        parts.append(diagnostics)
    joined = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
    return gradients, after, joined


def _add(total: Params, values: Params, weight: float) -> None:
    for name, value in values.items():
        total[name] = total[name] + weight * value if name in total else weight * value

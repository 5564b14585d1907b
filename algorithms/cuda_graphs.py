"""Meta-gradients as CUDA graphs: captured once, then replayed as a whole.

A step of an inner loop is some hundred kernels, and starting one takes the processor longer than
the GPU takes to run it on a few episodes. A captured graph is started by one call; it reads and
writes always the same memory, so that its inputs are copied there first and its results from there.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from algorithms.algorithm import Algorithm, Hyper
from algorithms.arguments import Arguments
from algorithms.errors import PreparationError
from algorithms.replicas import Results
from episodes.episode import Episodes
from networks.network import Params

WARM_UPS = 3
"""Runs before a capture, in which libraries choose their kernels and take their workspaces."""


class CaptureError(PreparationError):
    """A meta-gradient can't be captured: it waits for the GPU, or uses another device."""


class CudaGraphs:
    """The captured meta-gradients of one algorithm on one network and problem."""

    def __init__(self) -> None:
        self._captured: dict[Any, _Captured] = {}
        self._pool: Any = None

    @property
    def captured(self) -> int:
        """How many graphs there are: one for each shape of a batch that was run."""
        return len(self._captured)

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
        """Return what `algorithms.replicas.direct` returns, capturing it first if need be.

        All episodes must be on one GPU. Raises CaptureError, and torch.OutOfMemoryError.
        """
        arguments = Arguments(meta, state, hyper, episodes, keys)
        key = (arguments.quick_signature(), replicas)
        with torch.cuda.device(arguments.device):
            if key not in self._captured:
                if self._pool is None:
                    # One for all: each graph's results are copied before another one runs.
                    self._pool = torch.cuda.graph_pool_handle()
                self._captured[key] = _Captured(algorithm, arguments, replicas, self._pool)
            return self._captured[key].replay(arguments.tensors())


class _Captured:
    def __init__(
        self, algorithm: Algorithm, arguments: Arguments, replicas: int | None, pool: Any
    ) -> None:
        device = arguments.device
        self._inputs = [value.to(device, copy=True) for value in arguments.tensors()]
        self._graph = torch.cuda.CUDAGraph()

        def call() -> Results:
            return arguments.call(algorithm, tuple(self._inputs), replicas)

        usual, aside = torch.cuda.current_stream(), torch.cuda.Stream()
        aside.wait_stream(usual)
        try:
            with torch.cuda.stream(aside):
                for _ in range(WARM_UPS):
                    call()
            usual.wait_stream(aside)
            with torch.cuda.graph(self._graph, pool, capture_error_mode="thread_local"):
                results = call()
        except Exception as error:
            # A capture that fails leaves its stream behind, and may hide what it failed of.
            torch.cuda.set_stream(usual)
            for cause in _causes(error):
                if isinstance(cause, torch.OutOfMemoryError):
                    raise cause from None
            # Besides torch, Triton and an algorithm of the user's raise errors of their own.
            raise CaptureError(f"{type(error).__name__}: {error}") from error
        self._results = [list(each.values()) for each in results]
        self._names = [list(each) for each in results]

    def replay(self, inputs: list[Tensor]) -> Results:
        """Compute the results of other tensors of the same shapes."""
        with torch.no_grad():
            for here, there in _alike(self._inputs, inputs):
                torch._foreach_copy_(here, there)
            self._graph.replay()
            gradients, after, diagnostics = (
                dict(zip(names, _copied(values), strict=True))
                for names, values in zip(self._names, self._results, strict=True)
            )
        return gradients, after, diagnostics


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error, and those while whose handling it was raised."""
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__context__


def _alike(here: list[Tensor], there: list[Tensor]) -> list[tuple[list[Tensor], list[Tensor]]]:
    """Return pairs of lists with one type of numbers each, which are copied by one kernel."""
    found: dict[torch.dtype, tuple[list[Tensor], list[Tensor]]] = {}
    for to, source in zip(here, there, strict=True):
        pair = found.setdefault(to.dtype, ([], []))
        pair[0].append(to)
        pair[1].append(source)
    return list(found.values())


def _copied(values: list[Tensor]) -> list[Tensor]:
    copies = [torch.empty_like(value) for value in values]
    for here, there in _alike(copies, values):
        torch._foreach_copy_(here, there)
    return copies

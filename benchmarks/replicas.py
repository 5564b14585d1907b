"""What do replicas cost? Run with `python -m benchmarks.replicas [--device cuda]`.

Second-order MAML on sinusoids (MLP 40-40, 10 shots, 1 step), uncompiled, on a CPU compiled too, on
a GPU as CUDA graphs: the meta-gradients of 1, 2, 4 and 8 replicas of a configuration, as a trial
with `seeds` runs them, for several meta-batches. Printed are the milliseconds of one and the time
of several as a ratio to it; fastest of several turns, taken alternately.

Beside them, on a CPU, what 8 could take at the least: as long as their matrix products alone would,
at the rate of one product of large matrices on the same core. `algorithms.engine.TOGETHER` and
`SAVED_BY_ANOTHER` rest on these numbers.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import torch
from torch.utils.flop_counter import FlopCounterMode

from algorithms import Hyper, Objective, engine, make
from algorithms.allocator import keep_freed_memory
from algorithms.engine import Formulation
from algorithms.parts import noise
from algorithms.parts.axis import stacked
from algorithms.parts.losses import REGRESSION
from algorithms.programs import can_compile
from benchmarks import report
from benchmarks.engine import timed
from episodes.episode import joined
from episodes.sinusoid import Sinusoid
from networks import build

META_BATCHES = (1, 4, 8, 25)
REPLICAS = (1, 2, 4, 8)
HEADER = ("formulation", "meta-batch", "1, ms", *(str(count) for count in REPLICAS[1:]))
LARGE = 1024
"""Rows and columns of matrices whose product keeps a core's arithmetic as busy as it can be."""


class Work:
    """What replicas of one configuration compute for one meta-batch each."""

    def __init__(self, device: torch.device, formulation: Formulation):
        self._device = device
        self._algorithm = make("maml", build("mlp", (1,), 1, {}), Objective(REGRESSION), {})
        self._hyper: Hyper = {
            "inner_lr": torch.tensor(0.01, device=device),
            "inner_steps": 1,
        }
        self._formulation = formulation
        self._ready = engine.prepared(formulation, "benchmarks/replicas")
        self._source = Sinusoid(10, 10)

    def of(self, size: int, replicas: int) -> Callable[[], object]:
        """Return a call that computes the meta-gradients, of so many episodes for each replica."""
        drawn = [
            self._algorithm.init(self._hyper, torch.Generator().manual_seed(seed))[0]
            for seed in range(replicas)
        ]
        meta = stacked(drawn) if replicas > 1 else drawn[0]
        episodes = joined(
            [self._source.sample("train", seed, range(size)) for seed in range(replicas)]
        ).to(self._device)
        return partial(
            engine.meta_gradients,
            self._algorithm,
            self._formulation,
            {name: value.to(self._device) for name, value in meta.items()},
            {},
            self._hyper,
            episodes,
            noise.keys_of(0, episodes.index),
            self._ready,
            replicas if replicas > 1 else None,
        )

    def fastest(self, size: int, repeats: int) -> dict[int, float]:
        """Return the seconds of every number of replicas, the fastest of so many turns."""
        calls = {count: self.of(size, count) for count in REPLICAS}
        for call in calls.values():
            call()  # Compiles, captures.
        best = dict.fromkeys(REPLICAS, float("inf"))
        for _ in range(repeats):
            for count, call in calls.items():
                best[count] = min(best[count], timed(call, self._device))
        return best


def operations(call: Callable[[], object]) -> float:
    """Return how many additions and multiplications the matrix products of a call hold."""
    with FlopCounterMode(display=False) as counted:
        call()
    return float(counted.get_total_flops())


def attainable(repeats: int) -> float:
    """Return the operations per second of the product of two large matrices on this core."""
    matrix = torch.randn(LARGE, LARGE)
    seconds = min(timed(lambda: matrix @ matrix, torch.device("cpu")) for _ in range(repeats))
    return 2 * LARGE**3 / seconds


def formulations(device: torch.device, together: int | None) -> dict[str, Formulation]:
    """Return what is measured, by its name in the table."""
    if device.type == "cuda":
        found = {"captured": engine.choose((1,), device, engine.CAPTURED_FROM)}
    else:
        found = {"uncompiled": engine.choose((1,), device)}
    if together is not None:
        found = {name: replace(each, together=together) for name, each in found.items()}
    if device.type == "cpu" and can_compile():
        found["compiled"] = engine.choose((1,), device, 10**9)
    return found


def rows(
    found: dict[str, Formulation], device: torch.device, sizes: Sequence[int], repeats: int
) -> list[list[str]]:
    """Measure and return the rows of a table, in the order of HEADER and what 8 take at least."""
    lines = []
    for name, formulation in found.items():
        work = Work(device, formulation)
        for size in sizes:
            best = work.fastest(size, repeats)
            ratios = [f"{best[count] / best[1]:.2f}" for count in REPLICAS[1:]]
            line = [name, str(size), report.significant(best[1] * 1e3), *ratios]
            if device.type == "cpu":
                plain = Work(device, engine.choose((1,), device)).of(size, REPLICAS[-1])
                least = operations(plain) / attainable(repeats)
                line.append(f"{least / best[1]:.2f}")
            lines.append(line)
    return lines


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repeats", type=int, default=30)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--together", type=int, help="another number of episodes at once")
    parser.add_argument("--meta-batch", type=int, nargs="+", default=META_BATCHES)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()  # as a trial does when it starts
    device = torch.device(arguments.device)
    found = formulations(device, arguments.together)
    lines = rows(found, device, arguments.meta_batch, arguments.repeats)
    header = (*HEADER, f"{REPLICAS[-1]} at least") if device.type == "cpu" else HEADER
    print(report.table(header, lines))


if __name__ == "__main__":
    main()

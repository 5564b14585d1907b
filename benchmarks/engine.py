"""Which formulation is fastest? Run with `python -m benchmarks.engine [--device cuda]`.

Meta-gradients of second-order MAML with one inner step are computed for one batch of episodes in
chunks of several sizes, and of the sinusoids as a compiled program too, on a GPU as CUDA graphs in
either precision, on a CPU with query sets that pass a few at a time, taking turns so that a change
of the machine's clock rate or load meets all of them. Printed are medians, as tasks per second and
as ratios to the plain loop over episodes (chunks of 1). `algorithms.engine.choose`, `fitted` and
`exact_enough` rest on these numbers; their choice is marked. `--allocator default` leaves glibc's
allocator as it is, where a trial keeps freed memory (`algorithms.allocator`).
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch

from algorithms import Algorithm, Hyper, Objective, make
from algorithms.allocator import keep_freed_memory
from algorithms.engine import (
    CAPTURED_FROM,
    Formulation,
    choose,
    exact_enough,
    fitted,
    meta_gradients,
    prepared,
)
from algorithms.parts import noise
from algorithms.parts.losses import CLASSIFICATION, REGRESSION
from algorithms.precision import PRECISIONS
from algorithms.programs import can_compile
from episodes.episode import Episodes, Examples
from networks import Network, build

WAYS = 5


@dataclass(frozen=True)
class Workload:
    """A network with a batch of random episodes in the shape of a well-known problem."""

    name: str
    network: Network
    objective: Objective
    episodes: Episodes
    inner_lr: float
    formulations: tuple[Formulation, ...]


def sinusoid_mlp(device: torch.device) -> Workload:
    """Two layers of 40 units, 10 shots and 10 queries, 64 episodes."""
    count, shape = 64, (1,)

    def examples() -> Examples:
        inputs = torch.empty(count, 10, 1).uniform_(-5, 5)
        return Examples(inputs, torch.sin(inputs))

    episodes = Episodes(
        examples(), examples(), torch.empty((count, 0), dtype=torch.int64), torch.arange(count)
    )
    return Workload(
        "mlp, sinusoid 10-shot",
        build("mlp", shape, 1, {}),
        Objective(REGRESSION),
        episodes.to(device),
        0.01,
        (
            *(Formulation(size) for size in (1, 2, 4, 8, count)),
            Formulation(count, captured=True)
            if device.type == "cuda"
            else Formulation(count, compiled=True),
        ),
    )


def omniglot_conv4(device: torch.device) -> Workload:
    """64 filters on 28 x 28 pixels, 5-way 1-shot with 5 queries a class; 16 episodes, GPU 64."""
    on_gpu = device.type == "cuda"
    count, shape = 64 if on_gpu else 16, (1, 28, 28)

    def examples(shots: int) -> Examples:
        labels = torch.arange(WAYS).repeat(shots).expand(count, -1)
        return Examples(torch.rand(count, WAYS * shots, *shape), labels)

    captured = (
        Formulation(size, captured=True, precision=precision)
        for size in (8, 16, 32, 64)
        for precision in PRECISIONS
    )
    piecewise = (Formulation(size, queries=few) for size in (2, 4) for few in (1, 2))
    classes = torch.arange(WAYS).expand(count, -1)
    episodes = Episodes(examples(1), examples(5), classes, torch.arange(count))
    return Workload(
        "conv4-64, omniglot 5-way 1-shot",
        build("conv4", shape, WAYS, {}),
        Objective(CLASSIFICATION, ways=WAYS, train_classes=WAYS),
        episodes.to(device),
        0.4,
        (
            *(Formulation(size) for size in (1, 2, 4, 8, count)),
            *(captured if on_gpu else piecewise),
        ),
    )


class Learner:
    """Second-order MAML on a workload."""

    def __init__(self, workload: Workload, device: torch.device):
        self.workload = workload
        self.algorithm: Algorithm = make("maml", workload.network, workload.objective, {})
        inner_lr = torch.tensor(workload.inner_lr, device=device)
        self.hyper: Hyper = {"inner_lr": inner_lr, "inner_steps": 1}
        meta, self.state = self.algorithm.init(self.hyper, torch.Generator().manual_seed(0))
        self.meta = {name: value.to(device) for name, value in meta.items()}
        self.keys = noise.keys_of(0, workload.episodes.index)
        self.chosen = self._chosen(device)
        self.ready = {
            each: prepared(each, "benchmarks/engine")
            for each in (*workload.formulations, self.chosen)
            if can_compile() or not each.compiled
        }

    def run(self, formulation: Formulation) -> None:
        """Compute one batch."""
        meta_gradients(
            self.algorithm,
            formulation,
            self.meta,
            self.state,
            self.hyper,
            self.workload.episodes,
            self.keys,
            self.ready[formulation],
        )

    def _chosen(self, device: torch.device) -> Formulation:
        """Return what a trial would use, uncompiled; captured on a GPU."""
        episodes = self.workload.episodes
        batches = CAPTURED_FROM if device.type == "cuda" else None
        wanted = choose(episodes.support.inputs.shape[2:], device, batches)
        learner = (self.algorithm, self.meta, self.state, self.hyper)
        found = fitted(wanted, *learner, episodes[:1], self.keys[:1])
        found = exact_enough(found, *learner, episodes, self.keys)
        chunk = min(found.chunk, len(episodes))
        return Formulation(
            chunk, captured=found.captured, precision=found.precision, queries=found.queries
        )


def seconds_by_formulation(
    learner: Learner, device: torch.device, repeats: int
) -> dict[Formulation, float]:
    """Return the median seconds of one batch for each formulation."""
    times: dict[Formulation, list[float]] = {each: [] for each in learner.ready}
    for turn in range(repeats + 1):
        for formulation in learner.ready:
            seconds = timed(partial(learner.run, formulation), device)
            if turn > 0:  # the first turn only warms up
                times[formulation].append(seconds)
            elif formulation.compiled:
                print(f"compiled, or loaded from disk, in {seconds:.1f} s")
    return {each: statistics.median(found) for each, found in times.items()}


def title(formulation: Formulation) -> str:
    """Say how a batch is run: "32, captured, tf32", or "4, queries of 1"."""
    words = [str(formulation.chunk)]
    words += [word for word in ("compiled", "captured") if getattr(formulation, word)]
    if formulation.queries is not None:
        words.append(f"queries of {formulation.queries}")
    if formulation.precision != "float32":
        words.append(formulation.precision)
    return ", ".join(words)


def timed(call: Callable[[], object], device: torch.device) -> float:
    """Return the seconds of one call, its work on the device included."""
    began = time.perf_counter()
    call()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - began


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--repeats", type=int, default=3, help="turns to take the median of")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")
    parser.add_argument(
        "--allocator", choices=("keep", "default"), default="keep", help="what glibc does"
    )
    arguments = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(arguments.threads)
    if arguments.allocator == "keep":
        keep_freed_memory()
    device = torch.device(arguments.device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    print(f"torch {torch.__version__}, {name}, {arguments.threads} thread(s)")
    for make_workload in (sinusoid_mlp, omniglot_conv4):
        workload = make_workload(device)
        learner = Learner(workload, device)
        print(f"\n{workload.name}, {len(workload.episodes)} episodes a batch")
        seconds = seconds_by_formulation(learner, device, arguments.repeats)
        print(f"{'chunk':>24}{'tasks/s':>12}{'ratio':>8}")
        loop = seconds[Formulation(1)]
        for formulation, found in seconds.items():
            mark = "  <- chosen" if formulation == learner.chosen else ""
            rate, ratio = len(workload.episodes) / found, loop / found
            print(f"{title(formulation):>24}{rate:>12.1f}{ratio:>8.2f}{mark}")


if __name__ == "__main__":
    main()

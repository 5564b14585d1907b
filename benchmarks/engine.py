"""Which chunk size is fastest? Run with `python -m benchmarks.engine [--device cuda]`.

Meta-gradients of second-order MAML with one inner step are computed for one batch of episodes in
chunks of several sizes, the sizes taking turns so that a change of the machine's clock rate or load
meets all of them. Printed are medians, as tasks per second and as ratios to the plain loop over
episodes (chunks of 1). `algorithms.engine.choose` rests on these numbers; its choice is marked.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch

from algorithms import ALGORITHMS, Hyper, Objective
from algorithms.engine import Formulation, choose, meta_gradients
from algorithms.parts.losses import CLASSIFICATION, REGRESSION
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
    chunks: tuple[int, ...]
    chosen: int


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
        (1, 2, 4, 8, count),
        min(choose(shape, device).chunk, count),
    )


def omniglot_conv4(device: torch.device) -> Workload:
    """64 filters on 28 x 28 pixels, 5-way 1-shot with 5 queries a class; 16 episodes, GPU 64."""
    count, shape = 64 if device.type == "cuda" else 16, (1, 28, 28)

    def examples(shots: int) -> Examples:
        labels = torch.arange(WAYS).repeat(shots).expand(count, -1)
        return Examples(torch.rand(count, WAYS * shots, *shape), labels)

    classes = torch.arange(WAYS).expand(count, -1)
    episodes = Episodes(examples(1), examples(5), classes, torch.arange(count))
    return Workload(
        "conv4-64, omniglot 5-way 1-shot",
        build("conv4", shape, WAYS, {}),
        Objective(CLASSIFICATION, ways=WAYS, train_classes=WAYS),
        episodes.to(device),
        0.4,
        (1, 2, 4, 8, *((32,) if count > 32 else ()), count),
        choose(shape, device).chunk,
    )


def seconds_by_chunk(workload: Workload, device: torch.device, repeats: int) -> dict[int, float]:
    """Return the median seconds of one batch for each chunk size."""
    algorithm = ALGORITHMS["maml"].make(workload.network, workload.objective)
    rng = torch.Generator().manual_seed(0)
    hyper: Hyper = {"inner_lr": torch.tensor(workload.inner_lr, device=device), "inner_steps": 1}
    meta, state = algorithm.init(hyper, rng)
    meta = {name: value.to(device) for name, value in meta.items()}

    def run(chunk: int) -> None:
        meta_gradients(algorithm, Formulation(chunk), meta, state, hyper, workload.episodes, rng)

    times: dict[int, list[float]] = {chunk: [] for chunk in workload.chunks}
    for turn in range(repeats + 1):
        for chunk in workload.chunks:
            seconds = timed(partial(run, chunk), device)
            if turn > 0:  # the first turn only warms up
                times[chunk].append(seconds)
    return {chunk: statistics.median(found) for chunk, found in times.items()}


def timed(call: Callable[[], None], device: torch.device) -> float:
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
    arguments = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(arguments.threads)
    device = torch.device(arguments.device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    print(f"torch {torch.__version__}, {name}, {arguments.threads} thread(s)")
    for make in (sinusoid_mlp, omniglot_conv4):
        workload = make(device)
        seconds = seconds_by_chunk(workload, device, arguments.repeats)
        print(f"\n{workload.name}, {len(workload.episodes)} episodes a batch")
        print(f"{'chunk':>8}{'tasks/s':>12}{'ratio':>8}")
        for chunk, found in seconds.items():
            rate, ratio = len(workload.episodes) / found, seconds[1] / found
            mark = "  <- chosen" if chunk == workload.chosen else ""
            print(f"{chunk:>8}{rate:>12.1f}{ratio:>8.2f}{mark}")


if __name__ == "__main__":
    main()

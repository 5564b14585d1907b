"""What drawing and recording episodes costs beside training: `python -m benchmarks.overheads`.

On the sinusoids with meta-batches of 25, where an episode is cheapest and what goes on beside
training weighs most. The same code as a trial's runs: episodes are drawn ahead in blocks
(`search.episode_stream`), trained on (`engine.meta_gradients` and `OuterLoop.step`), and
each becomes a row of the episode table, which is written as parquet at a seal. Needs pandas and
pyarrow, but neither Ray nor MLflow. The parts take turns; medians are shown, as microseconds an
episode and as a share of training. The goal is at most 5 % each for sampling and recording.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import torch

import networks
from algorithms import ALGORITHMS, Objective, engine
from algorithms.algorithm import Diagnostics, Hyper
from algorithms.allocator import keep_freed_memory
from algorithms.parts.losses import REGRESSION
from algorithms.programs import can_compile
from benchmarks import process, report
from episodes.episode import Episodes
from episodes.sinusoid import Sinusoid
from search import episode_table
from search.atomic_file import write_atomically
from search.episode_stream import EpisodeStream, Trained, training_rows
from search.outer_loop import OuterLoop
from search.records import EpisodeRecords

META_BATCH_SIZE = 25
ROUNDS = 5
OUTER = {"outer_lr": 1e-3, "outer_optimizer": "adam", "outer_schedule": "constant", "clip_norm": 0}
Batch = tuple[Episodes, Diagnostics]
Clock = Callable[[], float]
CLOCKS: dict[str, Clock] = {"wall": time.perf_counter, "cpu": time.process_time}
Result = TypeVar("Result")


class Training:
    """Second-order MAML on the sinusoids, batch after batch."""

    def __init__(self, device: torch.device, **how: Any):
        network = networks.build("mlp", (1,), 1, {})
        self._algorithm = ALGORITHMS["maml"].make(network, Objective(REGRESSION))
        self._hyper: Hyper = {"inner_lr": torch.tensor(0.01, device=device), "inner_steps": 1}
        meta, self._state = self._algorithm.init(self._hyper, torch.Generator().manual_seed(0))
        self._meta = {name: value.to(device) for name, value in meta.items()}
        self._outer = OuterLoop(self._meta, OUTER)
        chosen = engine.choose((1,), device)
        self._formulation = replace(chosen, **how)
        self._ready = engine.prepared(self._formulation, "benchmarks/overheads")
        self._device = device

    def step(self, episodes: Episodes) -> Diagnostics:
        """Train on one meta-batch."""
        moved = episodes.to(self._device)
        gradients, self._state, diagnostics = engine.meta_gradients(
            self._algorithm,
            self._formulation,
            self._meta,
            self._state,
            self._hyper,
            moved,
            moved.index,
            self._ready,
        )
        self._outer.step(gradients, 0.0)
        return diagnostics

    def steps(self, batches: list[Episodes]) -> list[Batch]:
        """Train on several meta-batches, one after the other."""
        return [(episodes, self.step(episodes)) for episodes in batches]


def draw(stream: EpisodeStream, first: int, count: int) -> None:
    """Draw `count` episodes in meta-batches and let go of each, as training does."""
    for start in range(first, first + count, META_BATCH_SIZE):
        stream.take(start, META_BATCH_SIZE)


def sample(stream: EpisodeStream, first: int, count: int) -> list[Episodes]:
    """Draw `count` episodes in meta-batches."""
    starts = range(first, first + count, META_BATCH_SIZE)
    return [stream.take(start, META_BATCH_SIZE) for start in starts]


def rows_of(batches: list[Batch], first: int) -> EpisodeRecords:
    """Make the rows of trained batches."""
    trained = [
        Trained(episodes.index, episodes.classes, diagnostics, 1e-4, first + META_BATCH_SIZE * i)
        for i, (episodes, diagnostics) in enumerate(batches, start=1)
    ]
    return training_rows(trained, [0], None)


def write(records: EpisodeRecords, folder: Path) -> None:
    """Write rows as a seal does: parquet, its digest, a file."""
    content = episode_table.to_parquet([records])
    write_atomically(folder / "episodes.parquet", content)
    hashlib.sha256(content).hexdigest()


def measure(
    device: torch.device, seconds: float, clock: Clock = time.perf_counter
) -> list[dict[str, object]]:
    """Return a row for each part: microseconds an episode, and shares of training."""
    keep_freed_memory()  # as a trial does when it starts
    stream = EpisodeStream(Sinusoid(10, 10), 0, META_BATCH_SIZE)
    trainings = {"training, eager": Training(device)}
    if device.type == "cuda":
        trainings["training, captured"] = Training(device, captured=True)
    elif can_compile():
        trainings["training, compiled"] = Training(device, compiled=True)
    for training in trainings.values():
        training.steps(sample(stream, 0, 10 * META_BATCH_SIZE))
    count = META_BATCH_SIZE * max(40, _batches_in(trainings["training, eager"], stream, seconds))
    times: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for turn in range(ROUNDS):
            found = _turn(trainings, stream, turn * count, count, Path(folder), clock)
            for name, seconds_taken in found.items():
                times.setdefault(name, []).append(seconds_taken / count)
    return table(times, list(trainings))


def _turn(
    trainings: dict[str, Training],
    stream: EpisodeStream,
    first: int,
    count: int,
    folder: Path,
    clock: Clock,
) -> dict[str, float]:
    """Return the seconds that each part takes for `count` episodes."""
    seconds: dict[str, float] = {}

    def timed(name: str, call: Callable[[], Result]) -> Result:
        began = clock()
        result = call()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        seconds[name] = clock() - began
        return result

    timed("sampling", lambda: draw(stream, first, count))
    batches = sample(stream, first, count)
    for name, training in trainings.items():
        trained = timed(name, partial(training.steps, batches))
    records = timed("recording: rows", lambda: rows_of(trained, first))
    timed("recording: writing", lambda: write(records, folder))
    return seconds


def _batches_in(training: Training, stream: EpisodeStream, seconds: float) -> int:
    batches, began = 0, time.perf_counter()
    while time.perf_counter() - began < seconds:
        training.step(stream.take(batches * META_BATCH_SIZE, META_BATCH_SIZE))
        batches += 1
    return batches


def table(times: dict[str, list[float]], trainings: list[str]) -> list[dict[str, object]]:
    """Return medians as rows; `recording` is added as the sum of its parts."""
    medians = {name: 1e6 * statistics.median(found) for name, found in times.items()}
    medians["recording"] = sum(v for name, v in medians.items() if name.startswith("recording:"))
    return [
        {"part": name, "microseconds an episode": micro}
        | {f"% of {training}": 100 * micro / medians[training] for training in trainings}
        for name, micro in medians.items()
    ]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")
    parser.add_argument("--seconds", type=float, default=4.0, help="of eager training in a turn")
    parser.add_argument("--clock", choices=list(CLOCKS), default="wall")
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args()
    process.pin(arguments.threads)
    torch.set_num_threads(arguments.threads)
    rows = measure(torch.device(arguments.device), arguments.seconds, CLOCKS[arguments.clock])
    if arguments.json:
        print(json.dumps(rows))
    else:
        report.show_overheads(rows)


if __name__ == "__main__":
    main()

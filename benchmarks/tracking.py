"""How fast episodes are recorded in MLflow: `python -m benchmarks.tracking`.

Ours (`search.tracking.Tracker.publish`, as a trial's process sends what it has sealed) side by side
with plain `log_metric` from as many processes, and with Ray's MLflowLoggerCallback, which works in
the driver alone. The trials are those of an Omniglot search with default evaluation: each process
records one whole trial, the parquet files of all its episodes included; their numbers are drawn at
random. The stores are real ones on loopback, on the machine that also records; those on PostgreSQL
need Debian's package postgresql. Goals: at least 5,000 metrics per second into each store, and at
least 30 times the callback.

`--leaderboard` measures the leaderboard of a large search instead
(`benchmarks.tracking_leaderboard`), `--share` what recording takes of a real Omniglot trial's time
(`benchmarks.tracking_share`), `--away` how much longer a trial takes while the store is slow or
away (`benchmarks.tracking_away`), and fails where that is too much.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import signal
import sys
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from importlib import metadata
from multiprocessing.synchronize import Barrier
from pathlib import Path

from benchmarks import (
    process,
    report,
    tracking_away,
    tracking_leaderboard,
    tracking_share,
    tracking_trials,
)
from benchmarks.tracking_stores import STORES, offered, store
from benchmarks.tracking_trials import Recorded
from search.tracking import Tracker

PATIENCE = 600
HEADER = ("store", "processes", "way", "metrics/s", "episodes/s", "ratio")
WAYS = {"ours": "metasweep", "plain": "log_metric", "callback": "MLflowLoggerCallback"}


@dataclass(frozen=True)
class Measured:
    """One way to record into one store; rates are per second, of all processes together."""

    store: str
    processes: int
    way: str
    metrics: float
    episodes: float
    ratio: float
    """Metrics per second as a multiple of the callback's, in the same run."""


def measure(
    name: str, folder: Path, counts: Sequence[int], episodes: int, seconds: float
) -> list[Measured]:
    """Measure every way to record into one store, from each number of processes.

    episodes: training episodes of a trial. seconds: how long the slow ways are watched.
    """
    found = []
    with store(name, folder) as uri:
        for count in counts:
            trials = folder / f"trials-{count}"
            driver = _together(_callback, 1, (uri, count, seconds))
            base = _measured(name, count, "callback", driver)
            plain = _together(_plain, count, (uri, trials / "plain", episodes, seconds))
            ours = _together(_ours, count, (uri, trials / "ours", episodes))
            found += [
                _measured(name, count, "ours", ours, base.metrics),
                _measured(name, count, "plain", plain, base.metrics),
                base,
            ]
            told = f"{found[-3].metrics:.0f} metrics/s, {found[-3].ratio:.0f} times the callback"
            print(f"{name}, {count} processes: {told}", file=sys.stderr)
    return found


def _measured(
    store: str, count: int, way: str, done: list[Recorded], callback: float | None = None
) -> Measured:
    # The slowest one tells: by then all are recorded.
    seconds = max(each.seconds for each in done)
    metrics = sum(each.metrics for each in done) / seconds
    episodes = sum(each.episodes for each in done) / seconds
    return Measured(store, count, WAYS[way], metrics, episodes, metrics / (callback or metrics))


def _together(
    work: Callable[..., Recorded], count: int, arguments: tuple[object, ...]
) -> list[Recorded]:
    """Have so many processes record, all from one moment on."""
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(count)
    with ProcessPoolExecutor(count, context, _set_barrier, (barrier,)) as pool:
        running = [pool.submit(work, number, *arguments) for number in range(count)]
        return [each.result() for each in running]


_barrier: Barrier


def _set_barrier(barrier: Barrier) -> None:
    global _barrier
    _barrier = barrier


def _ours(number: int, uri: str, folder: Path, episodes: int) -> Recorded:
    config = tracking_trials.config(number, episodes)
    trial = tracking_trials.sealed(folder / str(number), config)
    tracker = Tracker(uri, folder / "artifacts")
    run_id = tracker.start_trial(config, "train", number)
    _barrier.wait(PATIENCE)
    return tracking_trials.ours(tracker, run_id, trial, config)


def _plain(number: int, uri: str, folder: Path, episodes: int, seconds: float) -> Recorded:
    config = tracking_trials.config(number, episodes)
    trial = tracking_trials.sealed(folder / str(number), config)
    tracker = Tracker(uri, folder / "artifacts")
    run_id = tracker.start_trial(config, "train", number)
    _barrier.wait(PATIENCE)
    return tracking_trials.plain(uri, run_id, trial, config, seconds)


def _callback(number: int, uri: str, trials: int, seconds: float) -> Recorded:
    return tracking_trials.callback(uri, trials, seconds)


def rows(found: Sequence[Measured]) -> list[list[str]]:
    """Return what was measured as the rows of a table, in the order of HEADER."""
    return [
        [
            each.store,
            str(each.processes),
            each.way,
            report.significant(each.metrics),
            report.significant(each.episodes),
            report.significant(each.ratio),
        ]
        for each in found
    ]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--store", action="append", choices=STORES, help="may be repeated")
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 4, 16])
    parser.add_argument(
        "--episodes",
        type=int,
        help="of a trial's training; default: 8000, with --share 960, with --away 20000",
    )
    parser.add_argument("--seconds", type=float, default=5.0, help="for each of the slow ways")
    parser.add_argument("--share", action="store_true", help="of a trial's time, instead")
    parser.add_argument("--leaderboard", action="store_true", help="of 1,000 trials, instead")
    parser.add_argument("--away", action="store_true", help="a store that is away, instead")
    parser.add_argument("--rounds", type=int, default=40, help="of --away, at most")
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args()
    # Otherwise the servers would outlive this process when it is told to end.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))
    names = arguments.store or offered()
    header: tuple[str, ...] = HEADER
    wrong: list[str] = []
    with tempfile.TemporaryDirectory(prefix="tracking-") as folder:
        places = {name: Path(folder) / str(number) for number, name in enumerate(names)}
        if arguments.leaderboard:
            header = tracking_leaderboard.HEADER
            lines = tracking_leaderboard.measure(places)
        elif arguments.away:
            header = tracking_away.HEADER
            counts = arguments.episodes or 20_000, arguments.rounds
            taken = tracking_away.measure(Path(folder), *counts)
            lines, wrong = tracking_away.rows(taken), tracking_away.too_slow(taken)
        elif arguments.share:
            header = tracking_share.HEADER
            lines = tracking_share.measure(places, arguments.episodes or 960)
        else:
            episodes, seconds = arguments.episodes or 8000, arguments.seconds
            found = [
                each
                for name, place in places.items()
                for each in measure(name, place, arguments.processes, episodes, seconds)
            ]
            lines = rows(found)
    if arguments.json:
        print(json.dumps([dict(zip(header, line, strict=True)) for line in lines]))
    else:
        machine = ", ".join(f"{name} {value}" for name, value in process.machine().items())
        print(f"{machine}; {versions()}\n\n{report.table(header, lines)}")
    if wrong:
        sys.exit("\n".join(wrong))


def versions() -> str:
    """Return the versions of what records and is recorded into."""
    there = {each.name for each in metadata.distributions()}
    names = [name for name in ("mlflow", "ray", "SQLAlchemy", "psycopg") if name in there]
    return ", ".join(f"{name} {metadata.version(name)}" for name in names)


if __name__ == "__main__":
    main()

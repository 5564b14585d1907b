"""What a store that is slow or away costs a trial: `python -m benchmarks.tracking --away`.

The same trial (MAML on sinusoids, uncompiled) is run in a process of its own, as Ray's are, and
sends to an MLflow server on SQLite through a proxy that passes on, answers after 2 s, answers 500,
or refuses connections. Rounds are interleaved; each time is compared with the one of the same round
in which the store answers. The goal is at most 5 % more, by the median of the rounds.

What counts is the time that training has, or that it waits for anything but a processor: others on
the same machine take processors away for as long as they like, and say nothing of the store.
"""

from __future__ import annotations

import functools
import multiprocessing
import statistics
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from multiprocessing.connection import Connection
from pathlib import Path

import torch

import episodes
from algorithms import engine
from benchmarks import report
from benchmarks.tracking_stores import SERVER_SQLITE, store
from search.config import Config, Problem
from search.publisher import Publisher
from search.run_file import Run, RunFile
from search.run_job import run_job
from search.tracking import Tracker
from search.trial_folder import TrialFolder
from spaces.algorithms import ALGORITHM_SPACES
from spaces.networks import NETWORK_SPACES
from tests.http_proxy import Proxy, proxy

BOUND = 1.05
"""How many times as long a trial may take as while the store answers, by the median."""
HEADER = ("the store", "trial, s (median)", "ratio (median)", "ratio, least to most")
SLOW_SECONDS = 2.0
STATES: dict[str, Callable[[Proxy], None]] = {
    "answers": Proxy.pass_on,
    "takes 2 s a call": lambda running: running.slow(SLOW_SECONDS),
    "answers 500": Proxy.error,
    "is away": Proxy.down,
}


def measure(folder: Path, training_episodes: int, rounds: int) -> dict[str, list[float]]:
    """Run the trial in every state, in turns; returns its seconds, round by round."""
    seconds: dict[str, list[float]] = {state: [] for state in STATES}
    with store(SERVER_SQLITE, folder / "store") as uri, proxy(uri) as running:
        for number in range(rounds):
            for state, enter in STATES.items():
                running.pass_on()
                config = _config(number, training_episodes)
                trial = folder / f"{number}-{state.replace(' ', '-')}"
                run_id = Tracker(running.url, None).start_trial(config, "train", number)
                RunFile(trial, running.url).write(Run(run_id))
                enter(running)
                seconds[state].append(_in_a_process(config, trial, running.url))
                print(f"{number}: {state}: {seconds[state][-1]:.1f} s", file=sys.stderr)
        running.pass_on()
    return seconds


def rows(seconds: Mapping[str, Sequence[float]]) -> list[list[str]]:
    """Return what was measured as the rows of a table, in the order of HEADER."""
    lines = []
    for state, taken in seconds.items():
        ratios = _ratios(seconds, state)
        middle = [report.significant(statistics.median(values)) for values in (taken, ratios)]
        lines.append([state, *middle, f"{min(ratios):.3f} to {max(ratios):.3f}"])
    return lines


def too_slow(seconds: Mapping[str, Sequence[float]]) -> list[str]:
    """Return the states in which a trial takes longer than it may, a line each."""
    medians = {state: statistics.median(_ratios(seconds, state)) for state in seconds}
    return [
        f"a trial takes {ratio:.3f} times as long while the store {state}; at most {BOUND} is right"
        for state, ratio in medians.items()
        if ratio > BOUND
    ]


def _ratios(seconds: Mapping[str, Sequence[float]], state: str) -> list[float]:
    pairs = zip(seconds[state], seconds["answers"], strict=True)
    return [one / usual for one, usual in pairs]


def _config(seed: int, training_episodes: int) -> Config:
    distribution = episodes.load("sinusoid", shots=10, query_shots=10)
    problem = Problem("sinusoid", "regression", 10, 10, data_digest=distribution.digest)
    return Config(
        problem,
        algorithm="maml",
        network="mlp",
        hyper=dict(ALGORITHM_SPACES["maml"].defaults["regression"]),
        settings=dict(NETWORK_SPACES["mlp"].defaults["regression"]),
        episodes=training_episodes,
        rungs=tuple(training_episodes // 2**i for i in (3, 2, 1)),
        seed=seed,
        formulation=engine.choose((1,), torch.device("cpu")).to_dict(),
    )


def _in_a_process(config: Config, trial: Path, uri: str) -> float:
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=_tell, args=(there, config, trial, uri))
    process.start()
    there.close()
    try:
        return float(here.recv())
    except EOFError:
        raise RuntimeError("the trial's process ended before the trial did") from None
    finally:
        # As Ray ends its processes. One that ends by itself, with a thread that still sends, may
        # wait for that thread for ever.
        process.kill()
        process.join()
        here.close()


def _tell(there: Connection, config: Config, trial: Path, uri: str) -> None:
    there.send(_run(config, trial, uri))
    threading.Event().wait()  # To be killed.


def _run(config: Config, trial: Path, uri: str) -> float:
    """Run a trial as Ray's processes do; returns its seconds, without what is sent after it."""
    distribution = episodes.load("sinusoid", shots=10, query_shots=10)
    publisher = Publisher(Tracker(uri, None))
    publish = functools.partial(publisher.publish, config=config)
    torch.set_num_threads(1)  # As Ray gives a trial: what another thread does, nobody could time.
    began = clock()
    *_, last = run_job(config, distribution, TrialFolder(trial), publish, by="benchmark")
    seconds = clock() - began
    if last.phase != "final":
        raise RuntimeError(f"the trial ended as {last.phase}: {last.reason}")
    return seconds


def clock() -> float:
    """Return seconds that pass for this thread, but for those in which no processor was free."""
    *_, waited, _ = Path("/proc/thread-self/schedstat").read_text().split()
    return time.perf_counter() - int(waited) / 1e9

"""What a store that is slow or away costs a trial: `python -m benchmarks.tracking --away`.

The same trial (MAML on sinusoids, uncompiled) runs twice at once, in processes of their own, as
Ray's are: one sends to an MLflow server on SQLite through a proxy that passes on, the other through
one that answers after 2 s, answers 500, or refuses connections. What else goes on on the machine
falls on both. The goal is at most 5 % more for the other, by the median of the rounds. There are as
many rounds as it takes to know on which side of that the median is, by a sign test, but for noise
that never ends; pairs of which both are answered show how much of it all is chance.

What counts is the time that training has, or that it waits for anything but a processor: others on
the same machine take processors away for as long as they like, and say nothing of the store.
"""

from __future__ import annotations

import functools
import math
import multiprocessing
import statistics
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext
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
CHANCE = 0.005
"""So seldom, at most, does one look at the pairs mistake the side of the bound that their median is
on. There is a look after each round; of a state that stays undecided, its median decides."""
MOST_SECONDS = 1200.0
"""After which no round begins."""
HEADER = ("the store", "rounds", "trial, s", "beside it, s", "ratio", "ratio, least to most")
SLOW_SECONDS = 2.0
CONTROL = "answers"
STATES: dict[str, Callable[[Proxy], None]] = {
    CONTROL: Proxy.pass_on,
    "takes 2 s a call": lambda running: running.slow(SLOW_SECONDS),
    "answers 500": Proxy.error,
    "is away": Proxy.down,
}


@dataclass(frozen=True)
class Pair:
    """Seconds of two trials that ran at once: beside a store that answers, and that does not."""

    usual: float
    taken: float

    @property
    def ratio(self) -> float:
        """How many times as long the one took."""
        return self.taken / self.usual


def measure(folder: Path, training_episodes: int, most_rounds: int) -> dict[str, list[Pair]]:
    """Run the trials in every state, in turns; returns what they took, round by round.

    A state that is known to be slow, or not to be, has no more rounds.
    """
    pairs: dict[str, list[Pair]] = {state: [] for state in STATES}
    context, began = _forking(), time.monotonic()
    with (
        store(SERVER_SQLITE, folder / "store") as uri,
        proxy(uri) as answering,
        proxy(uri) as troubled,
    ):
        for number in range(most_rounds):
            open_still = [state for state, each in pairs.items() if not is_decided(each)]
            if open_still in ([], [CONTROL]) or time.monotonic() - began > MOST_SECONDS:
                break
            for state in dict.fromkeys([CONTROL, *open_still]):
                troubled.pass_on()
                config = _config(number, training_episodes)
                trials = {
                    folder / f"{number}-{state.replace(' ', '-')}-{name}": each.url
                    for name, each in (("usual", answering), ("taken", troubled))
                }
                for trial, url in trials.items():
                    run_id = Tracker(url, None).start_trial(config, "train", number)
                    RunFile(trial, url).write(Run(run_id))
                STATES[state](troubled)
                pair = Pair(*_at_once(context, config, trials, last_first=number % 2 == 1))
                pairs[state].append(pair)
                told = f"{pair.taken:.1f} s, {pair.ratio:.3f} times as long as beside it"
                print(f"{number}: {state}: {told}", file=sys.stderr)
        troubled.pass_on()
    return pairs


def is_decided(pairs: Sequence[Pair]) -> bool:
    """Return whether chance alone would hardly bring so many pairs to one side of the bound."""
    above = sum(pair.ratio > BOUND for pair in pairs)
    fewer = min(above, len(pairs) - above)
    ways = sum(math.comb(len(pairs), number) for number in range(fewer + 1))
    return ways / 2 ** len(pairs) <= CHANCE


def rows(pairs: Mapping[str, Sequence[Pair]]) -> list[list[str]]:
    """Return what was measured as the rows of a table, in the order of HEADER; medians."""
    lines = []
    for state, each in pairs.items():
        ratios = [pair.ratio for pair in each]
        columns = [pair.taken for pair in each], [pair.usual for pair in each], ratios
        middle = [report.significant(statistics.median(column)) for column in columns]
        lines.append([state, str(len(each)), *middle, f"{min(ratios):.3f} to {max(ratios):.3f}"])
    return lines


def too_slow(pairs: Mapping[str, Sequence[Pair]]) -> list[str]:
    """Return the states in which a trial takes longer than it may, a line each."""
    medians = {
        state: statistics.median(pair.ratio for pair in each)
        for state, each in pairs.items()
        if state != CONTROL
    }
    return [
        f"a trial takes {ratio:.3f} times as long while the store {state}; at most {BOUND} is right"
        for state, ratio in medians.items()
        if ratio > BOUND
    ]


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


def _forking() -> ForkServerContext:
    """Return what starts processes that have imported everything already, and began no thread."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    return context


def _at_once(
    context: ForkServerContext, config: Config, trials: Mapping[Path, str], *, last_first: bool
) -> list[float]:
    """Run a trial in each folder, recorded at its address, all from one moment on."""
    order = list(trials.items())[:: -1 if last_first else 1]
    with ExitStack() as ended:
        running = [
            ended.enter_context(_process(context, config, trial, url)) for trial, url in order
        ]
        try:
            for pipe in running:
                pipe.recv()
            for pipe in running:
                pipe.send(None)
            seconds = [float(pipe.recv()) for pipe in running]
            return seconds[::-1] if last_first else seconds
        except EOFError:
            raise RuntimeError("a trial's process ended before the trial did") from None


@contextmanager
def _process(
    context: ForkServerContext, config: Config, trial: Path, url: str
) -> Iterator[Connection]:
    here, there = context.Pipe()
    process = context.Process(target=_tell, args=(there, config, trial, url))
    process.start()
    there.close()
    try:
        yield here
    finally:
        # As Ray ends its processes. One that ends by itself, with a thread that still sends, may
        # wait for that thread for ever.
        process.kill()
        process.join()
        here.close()


def _tell(pipe: Connection, config: Config, trial: Path, uri: str) -> None:
    with pipe:  # Which tells of an error, whatever threads are left.
        _run(pipe, config, trial, uri)
        threading.Event().wait()  # To be killed.


def _run(pipe: Connection, config: Config, trial: Path, uri: str) -> None:
    distribution = episodes.load("sinusoid", shots=10, query_shots=10)
    publisher = Publisher(Tracker(uri, None))
    publish = functools.partial(publisher.publish, config=config)
    torch.set_num_threads(1)  # As Ray gives a trial: what another thread does, nobody could time.
    pipe.send(None)
    pipe.recv()
    began = clock()
    *_, last = run_job(config, distribution, TrialFolder(trial), publish, by="benchmark")
    seconds = clock() - began  # Without what is sent after it.
    if last.phase != "final":
        raise RuntimeError(f"the trial ended as {last.phase}: {last.reason}")
    pipe.send(seconds)


def clock() -> float:
    """Return seconds that pass for this thread, but for those in which no processor was free."""
    *_, waited, _ = Path("/proc/thread-self/schedstat").read_text().split()
    return time.perf_counter() - int(waited) / 1e9

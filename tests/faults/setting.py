"""What every fault needs: a search in processes of its own, small but not over in a moment."""

from __future__ import annotations

import contextlib
import json
import random
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from search import checkpoint
from tests.cli import PYTHON_M, SECONDS, Done, run, started, wait_until
from tests.faults.audit import Left
from tests.servers import empty_store

EPISODES = 5000
NAME = "faulty"
LONGEST = 900
"""Seconds that a command of the whole table may take, with others beside it."""

ALGORITHMS = ["maml", "anil", "fomaml", "boil", "meta-sgd", "mt-net", "t-net", "reptile"]
"""The published default of each is a trial that is never pruned."""


def spec(trials: int, concurrency: int | str, **changes: object) -> dict[str, object]:
    """Return a search whose trials take some seconds each, and seal at three rungs on the way."""
    budget = {"trials": trials, "episodes": EPISODES, "first_rung": 700, "reduction_factor": 2}
    content: dict[str, object] = {
        "name": NAME,
        "problem": {
            "task": "sinusoid",
            "shots": 10,
            "query_shots": 10,
            "evaluation": {"rung_episodes": 20, "ranking_episodes": 40, "test_episodes": 50},
        },
        "algorithms": ALGORITHMS[:trials],
        "networks": ["mlp"],
        "space": {"*/inner_steps": 2, "*/meta_batch_size": 4},
        "budget": budget,
        "confirmation": {"best": 0},
        "concurrency": concurrency,
    }
    budget |= dict(changes.pop("budget", {}))  # type: ignore[call-overload]
    return content | changes


@dataclass
class Setting:
    """Where a fault happens.

    rng: for random moments.
    full: whether counts and times are those of the whole table, not shortened ones.
    environment: of every command.
    """

    folder: Path
    rng: random.Random
    full: bool = False
    environment: dict[str, str] = field(default_factory=dict)
    tracking_uri: str | None = None
    study_url: str | None = None

    def write(self, content: Mapping[str, object]) -> None:
        """Write the specification that `search` starts, beside an MLflow store for it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if self.tracking_uri is None:
            empty_store(self.folder / "mlflow.db")
        (self.folder / "search.yaml").write_text(yaml.safe_dump(dict(content)))

    @property
    def left(self) -> Left:
        """What the search leaves."""
        folder = self.folder / "metasweep-store" / NAME
        return Left(
            folder,
            self.tracking_uri or f"sqlite:///{self.folder / 'mlflow.db'}",
            self.study_url or f"sqlite:///{folder / 'study.db'}",
        )

    def run(self, *arguments: str, **environment: str) -> Done:
        """Run a command to its end."""
        settings = self.environment | environment
        seconds = LONGEST if self.full else SECONDS
        return run(*arguments, folder=self.folder, environment=settings, seconds=seconds)

    @contextmanager
    def started(
        self, *arguments: str, prefix: tuple[str, ...] = (), **environment: str
    ) -> Iterator[subprocess.Popen[str]]:
        """Start a command, of which nothing outlives the block.

        prefix: a command that starts it, such as one that enters a network namespace.
        """
        settings = self.environment | environment
        command = (*prefix, *PYTHON_M)
        with started(
            *arguments, folder=self.folder, command=command, environment=settings
        ) as process:
            yield process

    def search(self) -> tuple[str, ...]:
        """Return the command that starts the search, or goes on with it where it was started."""
        begun = (self.left.folder / "search.json").exists()
        return ("resume", NAME) if begun else ("search", "search.yaml", "--name", NAME)

    def trial(self, number: int) -> Path:
        """Return a trial's folder."""
        return self.left.folder / "trials" / f"trial-{number:03d}"

    def sealed(self, number: int, shards: int) -> Callable[[], bool]:
        """Return whether a trial has sealed so often."""
        return lambda: self.shards(number) >= shards

    def shards(self, number: int) -> int:
        """Return how many shards of a trial's episodes a whole checkpoint lists, at least.

        A file of episodes is not sealed yet while its checkpoint is being written.
        """
        most = 0
        for file in self.trial(number).glob(f"checkpoints/*/{checkpoint.FILE_NAME}"):
            with contextlib.suppress(FileNotFoundError):  # Removed meanwhile, after a newer one.
                most = max(most, len(json.loads(file.read_bytes())["shards"]))
        return most

    def wait_sealed(self, number: int, shards: int, seconds: float = 300) -> None:
        """Wait until a trial has sealed so often."""
        wait_until(self.sealed(number, shards), seconds, f"shard {shards} of trial {number}")

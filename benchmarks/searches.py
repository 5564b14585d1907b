"""The ready-made searches of small budget, run for real: `python -m benchmarks.searches`.

Each runs as a user would start it, `metasweep search NAME`, in a folder of its own, with the data
of METASWEEP_DATA, and is read back by `metasweep leaderboard NAME --format json`. Printed are the
minutes it took, trials and confirmations included, and its best trial beside what one gets without
learning, on the classes that nobody searched on, the former with its 95 % interval. Ends
with status 1 where a search failed, took longer than 10 minutes, or where the interval of its best
trial holds the baseline.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import process, report

SEARCHES = (
    "sinusoid",
    "sinusoid-line",
    "harmonic",
    "omniglot-5way-1shot",
    "cifar-fs-subset-5way-1shot",
    "double-mnist-5way-1shot",
    "segmentation-camvid",
    "translation-lowres",
)
MINUTES = 10.0
HEADER = (
    "search",
    "finished",
    "minutes",
    "best",
    "metric",
    "meta-test",
    "baseline",
    "its meta-test",
)
LOWER_IS_BETTER = ("query_loss",)


@dataclass(frozen=True)
class Ran:
    """A finished search: its minutes, and its leaderboard as JSON values."""

    name: str
    minutes: float
    board: Mapping[str, Any]

    @property
    def best(self) -> Mapping[str, Any]:
        """The trial that is ranked first."""
        best: Mapping[str, Any] = self.board["ranked"][0]
        return best

    def wrong(self) -> list[str]:
        """Return what it was to do and did not, a line each."""
        found = []
        if self.minutes > MINUTES:
            found.append(f"{self.name} took {self.minutes:.1f} minutes; {MINUTES:.0f} are allowed")
        if self.board["baseline"] is None:
            return [*found, f"{self.name}: its leaderboard has no baseline"]
        sign = -1 if self.best["metric"] in LOWER_IS_BETTER else 1
        for split in ("validation", "test"):
            bounds = (self.best[f"{split}_ci95_{end}"] for end in ("low", "high"))
            weakest = min(sign * bound for bound in bounds)
            if weakest <= sign * self.board["baseline"][f"{split}_mean"]:
                name = self.board["baseline"]["name"]
                found.append(f"{self.name}: on meta-{split} the best is not clear of {name}")
        return found

    def row(self) -> list[str]:
        """Return the row of a table, in the order of HEADER."""
        best = self.best
        baseline = self.board["baseline"] or {"name": "none", "test_mean": math.nan}
        half = (best["test_ci95_high"] - best["test_ci95_low"]) / 2
        return [
            self.name,
            str(len(self.board["ranked"])),
            f"{self.minutes:.1f}",
            f"{best['algorithm']}, {best['network']}",
            best["metric"].removeprefix("query_"),
            f"{best['test_mean']:.3f} ± {half:.3f}",
            baseline["name"],
            f"{baseline['test_mean']:.3f}",
        ]


def run(name: str, folder: Path, settings: Sequence[str]) -> Ran:
    """Run a search in a folder and return what became of it.

    Raises CalledProcessError where a command fails; it has printed why.
    """
    folder.mkdir()
    command = [sys.executable, "-m", "search"]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent.parent)}
    environment.pop("MLFLOW_TRACKING_URI", None)

    def call(*arguments: str) -> None:
        subprocess.run([*command, *arguments], cwd=folder, env=environment, check=True)

    began = time.perf_counter()
    call("search", name, *settings)
    minutes = (time.perf_counter() - began) / 60
    board = folder / "board.json"
    call("leaderboard", name, "--format", "json", "--output", str(board))
    return Ran(name, minutes, json.loads(board.read_text()))


def main() -> None:
    """Run the searches and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("searches", nargs="*", default=SEARCHES, help=f"of {', '.join(SEARCHES)}")
    parser.add_argument("--trials", type=int, help="instead of each search's own number")
    parser.add_argument("--episodes", type=int, help="instead of each search's own number")
    arguments = parser.parse_args()
    settings = []
    for option in ("trials", "episodes"):
        if (value := getattr(arguments, option)) is not None:
            settings += [f"--{option}", str(value)]
    done: list[Ran] = []
    failed = []
    with tempfile.TemporaryDirectory(prefix="searches-") as folder:
        for name in arguments.searches:
            try:
                done.append(run(name, Path(folder) / name, settings))
            except subprocess.CalledProcessError as error:
                failed.append(f"{name}: {' '.join(map(str, error.cmd))}: status {error.returncode}")
    machine = ", ".join(f"{key} {value}" for key, value in process.machine().items())
    print(f"{machine}\n\n{report.table(HEADER, [each.row() for each in done])}")
    wrong = failed + [line for each in done for line in each.wrong()]
    if wrong:
        sys.exit("\n".join(wrong))


if __name__ == "__main__":
    main()

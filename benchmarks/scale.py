"""What a driver costs as a search grows: `python -m benchmarks.scale`.

Trials are simulated: each lasts 60 simulated seconds, in which it tells of itself as often as a
real one does, is compared at two rungs, and ends as complete, pruned, diverged or failed. All else
is real: the conductor, the study in its database, TPE over the space of the ready-made search
`sinusoid`. Times are those of this process on its processor, so that others on the machine disturb
little.

- `ours` is the driver as it is, in SQLite and, with --study-url, in that database as well.
- `plain` is the same search in SQLite on Optuna's own storage, which is read at every question, and
  with TPE looking at every trial, until --plain trials have ended.
- With --tune, Ray Tune runs trials whose processes do nothing but tell, with different numbers of
  them at once: what Tune itself takes of the driver's thread for each report and each trial.
- With --ray, the whole search runs through Ray Tune, in so many processes, with trials that tell
  of their rungs and their end within a second: nothing else is simulated.

A driver keeps up while its share of one core stays well below 100 %.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import sqlalchemy

from benchmarks import process
from benchmarks.plain_study import PlainStudy
from benchmarks.scale_search import Mark, Simulation, halving, specification
from search.study import SearchStudy

TRIALS = (100, 500, 1000, 2000)
ON_RAY = (
    "trials",
    "suggest, ms",
    "conduct, ms",
    "Tune, ms",
    "threads, ms",
    "reports",
    "memory, MB",
    "of a core",
)
HEADER = ("study", "trials", "suggest, ms", "decide, ms", "reports", "memory, MB", "of a core")


def simulate(
    kind: type[SearchStudy], url: str, marks: Sequence[int], concurrent: int, seconds: float
) -> Iterator[Mark]:
    """Run a search in a new study of a database; yield its marks."""
    spec = specification(max(marks))
    study = kind(f"scale-{uuid.uuid4().hex[:8]}", url, "minimize", halving(spec), spec.seed)
    return Simulation(study, spec, concurrent, seconds).run(marks)


def taken_by_tune(processes: Sequence[int]) -> list[dict[str, Any]]:
    """Return what Ray Tune takes with so many trials at once."""
    if not processes:
        return []
    from benchmarks.scale_tune import measure  # Ray is needed for this alone.

    return [asdict(measure(number)) for number in processes]


def through_ray(
    url: str, marks: Sequence[int], processes: int, concurrent: int, seconds: float
) -> list[dict[str, Any]]:
    """Run a search of as many trials as the last mark through Ray Tune; return its rows."""
    from benchmarks.scale_ray import RaySearch  # Ray is needed for this alone.

    with tempfile.TemporaryDirectory() as folder:
        name = f"scale-{uuid.uuid4().hex[:8]}"
        search = RaySearch(name, url, max(marks), processes, Path(folder))
        found = search.run(marks)
    return [asdict(mark) | {"share": mark.share(concurrent, seconds)} for mark in found]


def line(cells: Sequence[str]) -> None:
    """Print a line of the table, at once: a whole run takes minutes."""
    print("  ".join(f"{cell:>15}" for cell in cells), flush=True)


def show(row: dict[str, Any]) -> None:
    """Print a row of the table."""
    line(
        (
            row["study"],
            f"{row['trials']}",
            f"{row['suggest_ms']:.1f}",
            f"{row['decide_ms']:.1f}",
            f"{row['reports']:.1f}",
            f"{row['memory_mb']:.0f}",
            f"{100 * row['share']:.0f} %",
        )
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, nargs="*", default=list(TRIALS), help="marks")
    parser.add_argument("--concurrent", type=int, default=256, help="trials at once")
    parser.add_argument("--seconds", type=float, default=60.0, help="that a trial lasts")
    parser.add_argument("--plain", type=int, default=60, help="trials of `plain`; 0 for none")
    parser.add_argument("--study-url", help="of another database to measure, such as PostgreSQL")
    parser.add_argument("--tune", type=int, nargs="+", default=[], help="processes under Ray Tune")
    parser.add_argument("--ray", type=int, default=0, help="processes of a search on Ray")
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args()
    concurrent, seconds = arguments.concurrent, arguments.seconds
    if not arguments.json:
        print(", ".join(f"{name}: {value}" for name, value in process.machine().items()))
        print(f"{concurrent} trials at once, {seconds:g} s each\n")
        line(HEADER)
    found: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        stores = {"sqlite": f"sqlite:///{Path(folder) / 'study.db'}"}
        if arguments.study_url:
            name = sqlalchemy.make_url(arguments.study_url).get_backend_name()
            stores[name] = arguments.study_url
        runs: list[tuple[str, type[SearchStudy], str, list[int]]] = [
            ("ours", SearchStudy, store, arguments.trials) for store in stores
        ]
        if arguments.plain:
            runs.append(("plain", PlainStudy, "sqlite", [arguments.plain]))
        for contender, kind, store, marks in runs:
            if not marks:
                continue
            for mark in simulate(kind, stores[store], marks, concurrent, seconds):
                share = mark.share(concurrent, seconds)
                found.append({"study": f"{contender} {store}", **asdict(mark), "share": share})
                if not arguments.json:
                    show(found[-1])
        on_ray: list[dict[str, Any]] = []
        if arguments.ray:
            # The newest of the databases: that of --study-url, where there is one.
            url = list(stores.values())[-1]
            on_ray = through_ray(url, arguments.trials, arguments.ray, concurrent, seconds)
    tuned = taken_by_tune(arguments.tune)
    if arguments.json:
        parts = {"machine": process.machine(), "simulated": found, "ray": on_ray, "tune": tuned}
        print(json.dumps(parts))
        return
    if on_ray:
        print(f"\nThrough Ray Tune, in {arguments.ray} processes")
        line(ON_RAY)
    for row in on_ray:
        *numbers, share = row.values()
        line((*(f"{number:.4g}" for number in numbers), f"{100 * share:.0f} %"))
    for row in tuned:
        print(
            f"\nRay Tune, {row['processes']} trials at once: {row['report_ms']:.2f} ms a report, "
            f"{row['trial_ms']:.1f} ms a trial"
        )


if __name__ == "__main__":
    main()

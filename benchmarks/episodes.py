"""Episodes per second, beside Torchmeta and learn2learn: `python -m benchmarks.episodes`.

Drawn are meta-batches of 16 episodes of 5 ways, 1 shot and 15 queries, as float32 from 0 to 1: from
Omniglot (28 x 28, rotations as classes), and from noise in the shape of mini-ImageNet (84 x 84 in
colour, 64 classes of 600 images). Each library draws in two ways: as its own helpers make the data
set, and from tensors in memory that were decoded, scaled and rotated beforehand, in the fastest way
that it offers. All are first held to deliver the same: number, shape, type and range of images, and
labels.

Every source has a process of its own; they take turns, so that a change of the machine's load meets
them all, and medians are shown with the lowest and the highest turn. Torchmeta has 4 more processes
that work for it, the others one thread each; so the wall favours Torchmeta, all the more where
others use the machine too. Therefore episodes per second of processor time, workers included, stand
beside those per second on the wall. glibc is told to keep freed memory, for all alike.

Omniglot is read as a task would read it (METASWEEP_DATA). The rest is made up on disk, about 8 GB,
in a temporary folder, or once and for all in `--folder`. The libraries are optional:

    git clone https://github.com/tristandeleu/pytorch-meta TORCHMETA
    git clone https://github.com/learnables/learn2learn LEARN2LEARN
    pip install --target LIBRARIES --no-deps h5py ordered-set cython setuptools
    (cd LEARN2LEARN && PYTHONPATH=/PATH/TO/LIBRARIES python setup.py build_ext --inplace)
    python -m benchmarks.episodes --path LIBRARIES --torchmeta TORCHMETA \\
        --learn2learn LEARN2LEARN --output docs/loading.md
"""

from __future__ import annotations

import argparse
import datetime
import math
import statistics
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks import process, report
from benchmarks.episode_data import prepare
from benchmarks.loaders import LABELS, LOADERS, OURS, WORKS, Work
from benchmarks.loaders.work import QUERY_SHOTS, SHOTS, WAYS
from benchmarks.remote import ContenderError, NotInstalledError, Remote, Settings
from episodes import DataError

HEADER = (
    "source",
    "episodes/s",
    "lowest to highest",
    "ours is",
    "episodes/s of processor time",
    "ours is",
)


@dataclass
class Row:
    """One source on one data set.

    wall, cpu: episodes per second, on the wall and of processor time, one a turn.
    looks: what its first batch is like. failure: why there are no numbers.
    """

    name: str
    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    looks: dict[str, Any] = field(default_factory=dict)
    failure: str = ""


@dataclass
class Table:
    """All sources on one data set.

    megabytes: of the numbers of an episode's images. shares: of a core that ours had, one a turn.
    """

    title: str
    rows: list[Row]
    megabytes: float
    shares: list[float] = field(default_factory=list)


def compare(
    work: Work,
    names: Sequence[str],
    settings: Settings,
    folder: Path,
    *,
    seconds: float,
    turns: int,
) -> tuple[Table, dict[str, str]]:
    """Measure one data set. Returns a row for each source, and the versions that were met."""
    rows = {name: Row(name) for name in names}
    megabytes = 4 * WAYS * (SHOTS + QUERY_SHOTS) * math.prod(work.shape) / 1e6
    table = Table(work.title, list(rows.values()), megabytes)
    versions: dict[str, str] = {}
    with ExitStack() as stack:
        workers: dict[str, Remote] = {}
        for name in names:
            _say(f"{work.name}: {LABELS[name]}: making ready")
            remote = stack.enter_context(Remote(name, settings, "benchmarks.episode_worker"))
            try:
                met = remote.ask("import")["versions"]
                rows[name].looks = remote.ask("build", work=work.name, folder=str(folder))
            except (NotInstalledError, ContenderError) as error:
                rows[name].failure = told(error)
                continue
            versions |= {k: v for k, v in met.items() if k not in versions}
            workers[name] = remote
        for turn in range(turns):
            _say(f"{work.name}: turn {turn + 1} of {turns}")
            for name, worker in list(workers.items()):
                try:
                    timed = worker.ask("time", seconds=seconds)
                except ContenderError as error:
                    rows[name].failure = told(error)
                    workers.pop(name)
                    continue
                rows[name].wall.append(timed["episodes"] / timed["wall"])
                rows[name].cpu.append(timed["episodes"] / timed["cpu"])
                if name == OURS:
                    table.shares.append(timed["cpu"] / timed["wall"])
    return table, versions


def told(error: Exception) -> str:
    """Return why there are no numbers."""
    if isinstance(error, NotInstalledError):
        return f"not found ({error}): name a checkout with --torchmeta or --learn2learn"
    return f"failed: {error}"


def cells(row: Row, ours: Row | None) -> list[str]:
    """Return a row as text, in the order of HEADER."""
    label = LABELS[row.name]
    if ours and ours.looks and row.looks and row.looks != ours.looks:
        label += " (other images)"
    if row.failure or not row.wall:
        return [label, "not found" if row.failure.startswith("not found") else "failed"] + [""] * 4
    compared = ours is not None and bool(ours.wall) and not row.name.startswith(OURS)

    def ratio(mine: list[float], theirs: list[float]) -> str:
        if not compared:
            return ""
        return f"{report.significant(statistics.median(mine) / statistics.median(theirs))} times"

    lowest, highest = (report.significant(rate) for rate in (min(row.wall), max(row.wall)))
    return [
        label,
        report.significant(statistics.median(row.wall)),
        f"{lowest} to {highest}",
        ratio(ours.wall if ours else [], row.wall),
        report.significant(statistics.median(row.cpu)),
        ratio(ours.cpu if ours else [], row.cpu),
    ]


def lines(table: Table) -> list[list[str]]:
    """Return the rows of a table as text."""
    ours = next((row for row in table.rows if row.name == OURS), None)
    return [cells(row, ours) for row in table.rows]


def remarks(table: Table) -> list[str]:
    """Return why rows have no numbers, what share of a core ours had, and how near memory it is."""
    found = [f"{LABELS[row.name]}: {row.failure}" for row in table.rows if row.failure]
    if table.shares:
        share = 100 * statistics.median(table.shares)
        found.append(f"Ours had {share:.0f} % of one core in the median turn.")
        ours = next(row for row in table.rows if row.name == OURS)
        gigabytes = statistics.median(ours.cpu) * table.megabytes / 1000
        found.append(
            f"The images of an episode are {report.significant(table.megabytes)} MB of numbers: "
            f"ours writes {gigabytes:.1f} GB of them in a second of processor time."
        )
    return found


def markdown(tables: Sequence[Table], versions: dict[str, str], arguments: Sequence[str]) -> str:
    """Return the document."""
    machine = ", ".join(f"{name} {value}" for name, value in process.machine().items())
    shown = ", ".join(f"{name} {value}" for name, value in versions.items())
    parts = [
        "# Drawing episodes",
        "Episodes per second of meta-batches of 16 (5 ways, 1 shot, 15 queries, float32), beside "
        "Torchmeta's BatchMetaDataLoader and learn2learn's tasks. Sources take turns on the same "
        "machine; medians are shown, and `ours is` says by how many times ours is faster: on the "
        "wall, and per second of processor time with that of worker processes. Torchmeta has 4 "
        "worker processes, all others one thread.",
        "Torchmeta and learn2learn are there twice: as their own helpers make the data set (HDF5 "
        "and Pillow; learn2learn with images decoded beforehand), and from float tensors in memory "
        "that were scaled and rotated beforehand, which take four times the memory of ours and are "
        "the least that either can have left to do. A task of learn2learn is counted as it comes, "
        "not parted into support and query. Ours parts, scales, and reads bytes from a file that "
        "all trials of a machine share. The larger the images, the more of everybody's time goes "
        "into moving their numbers through memory, and the nearer all come to each other.",
        f"Made by `{report.command(arguments, 'benchmarks.episodes')}` on "
        f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d}; `python -m benchmarks.episodes --help` "
        "says how to get the libraries.",
        f"- Machine: {machine}\n- Versions: {shown}",
    ]
    for table in tables:
        parts += [f"## {table.title}", report.table(HEADER, lines(table)), *remarks(table)]
    return "\n\n".join(parts) + "\n"


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def arguments_of(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.episodes",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--work", nargs="+", choices=list(WORKS), default=list(WORKS))
    parser.add_argument("--source", nargs="+", choices=list(LOADERS), default=list(LOADERS))
    parser.add_argument("--seconds", type=float, default=2.0, help="of a turn, at least a batch")
    parser.add_argument("--turns", type=int, default=5, help="measurements to take the median of")
    parser.add_argument("--threads", type=int, default=1, help="of ours and of learn2learn")
    parser.add_argument("--path", action="append", default=[], help="folder of more libraries")
    parser.add_argument("--torchmeta", help="checkout of its source")
    parser.add_argument("--learn2learn", help="checkout of its source, its extensions built")
    parser.add_argument("--folder", type=Path, help="keep the data here (default: temporary)")
    parser.add_argument("--output", type=Path, help="write a markdown document")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, print and write."""
    arguments = arguments_of(argv)
    settings = Settings(
        threads=arguments.threads,
        paths=tuple(str(Path(path).resolve()) for path in arguments.path),
        learn2learn=arguments.learn2learn,
        torchmeta=arguments.torchmeta,
        keep_memory=True,
    )
    tables: list[Table] = []
    versions: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = (arguments.folder or Path(temporary)).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        for work in (WORKS[name] for name in arguments.work):
            _say(f"{work.name}: data")
            try:
                prepare(work, folder)
            except DataError as error:
                raise SystemExit(str(error)) from error
            table, met = compare(
                work,
                arguments.source,
                settings,
                folder,
                seconds=arguments.seconds,
                turns=arguments.turns,
            )
            tables.append(table)
            versions |= met
            report.show_table(table.title, HEADER, lines(table))
            print(*remarks(table), sep="\n", flush=True)
    if arguments.output:
        given = list(sys.argv[1:] if argv is None else argv)
        arguments.output.write_text(markdown(tables, versions, given))


if __name__ == "__main__":
    main()

"""What was measured, as a table on the terminal and as a markdown document."""

from __future__ import annotations

import datetime
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby

from benchmarks import process

HEADER = (
    "contender",
    "tasks/s",
    "ratio",
    "memory, MB",
    "in all, MB",
    "first batch, s",
    "float32",
    "float64",
)
PATHS = (
    "--python",
    "--path",
    "--learn2learn",
    "--torchmeta",
    "--data",
    "--folder",
    "--output",
    "--programs",
)
CLOCKS = {"wall": "Time on the wall", "cpu": "Time of the processor, not on the wall"}
KEEPING = (
    " On a CPU ours tells glibc to keep the memory that it frees, as its trainings do; the others "
    "run as they are, unless `--keep-memory` gives the same to all: that helps large networks."
)
ON_GPU = (
    " `memory` is the peak of the GPU's, `in all` of the process's on the CPU. Products are as "
    "each library has them by default: torch rounds those of convolutions to TF32, JAX all; ours "
    "are exact where it does not say tf32."
)
AGREES = {"float32": 1e-4, "float64": 1e-8}


@dataclass
class Row:
    """One contender on one workload.

    rates: tasks per second, one per turn. ratio: of medians, to the row that all refer to.
    shares: of a core that the process had, one per turn; well below 1 where others use it too.
    baseline, peak, device_peak: bytes, after the imports and at most.
    first_seconds: of the first batch, compilation included.
    float32, float64: relative distance of the meta-gradients to ours.
    failure: why there are no numbers, in two words, and reason in full.
    """

    workload: str
    contender: str
    rates: list[float] = field(default_factory=list)
    shares: list[float] = field(default_factory=list)
    ratio: float | None = None
    baseline: int = 0
    peak: int = 0
    device_peak: int | None = None
    first_seconds: float | None = None
    float32: float | None = None
    float64: float | None = None
    notes: dict[str, str] = field(default_factory=dict)
    failure: str = ""
    reason: str = ""

    @property
    def rate(self) -> float:
        """Median tasks per second."""
        return statistics.median(self.rates)

    @property
    def doubt(self) -> str:
        """Whether the meta-gradients are another thing than ours; float64 decides if measured."""
        if self.float64 is not None:
            return "" if self.float64 < AGREES["float64"] else "disagrees"
        if self.float32 is None or self.float32 < AGREES["float32"]:
            return ""
        return "float32 differs"

    def cells(self) -> list[str]:
        """Return the row as text, in the order of HEADER."""
        precision = self.notes.get("precision", "float32")
        name = self.contender + (f", {precision}" if precision != "float32" else "")
        name += f" ({self.doubt})" if self.doubt else ""
        if self.failure or not self.rates:
            return [name, self.failure or "not measured", *[""] * (len(HEADER) - 2)]
        above = self.peak - self.baseline if self.device_peak is None else self.device_peak
        return [
            name,
            significant(self.rate),
            "" if self.ratio is None else f"{self.ratio:.2f}",
            f"{above / 1e6:.0f}",
            f"{self.peak / 1e6:.0f}",
            "" if self.first_seconds is None else significant(self.first_seconds),
            "" if self.float32 is None else f"{self.float32:.0e}",
            "" if self.float64 is None else f"{self.float64:.0e}",
        ]


@dataclass
class Report:
    """Everything that one run of the script found."""

    command: list[str]
    device: str
    threads: int
    clock: str = "wall"
    rows: list[Row] = field(default_factory=list)
    versions: dict[str, str] = field(default_factory=dict)
    overheads: list[dict[str, object]] = field(default_factory=list)


def significant(value: float) -> str:
    """Return a number with three digits that say something: 12345, 123, 12.3, 0.123."""
    if value >= 100:
        return f"{value:.0f}"
    return f"{value:.3g}"


def set_ratios(rows: Sequence[Row], to: Row | None) -> None:
    """Set the ratio of each row's median rate to that of `to`."""
    for row in rows:
        if to is not None and to.rates and row.rates:
            row.ratio = row.rate / to.rate


def reasons(rows: Sequence[Row]) -> list[str]:
    """Return a line for each row that says why it has no numbers."""
    return [f"{row.contender}: {row.failure}: {row.reason}" for row in rows if row.reason]


def show(rows: Sequence[Row]) -> None:
    """Print the rows of one workload."""
    show_table(rows[0].workload, HEADER, [row.cells() for row in rows])
    print(*reasons(rows), sep="\n")


def show_overheads(rows: Sequence[dict[str, object]]) -> None:
    """Print the shares of sampling and recording."""
    if rows:
        show_table("sinusoid: beside training", list(rows[0]), [_values(row) for row in rows])


def _values(row: dict[str, object]) -> list[str]:
    return [significant(v) if isinstance(v, float) else str(v) for v in row.values()]


def show_table(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table with its title."""
    try:
        from rich.console import Console
        from rich.table import Table
    except ImportError:
        print(f"\n{title}\n\n{table(header, rows)}")
        return
    shown = Table(title=title, title_justify="left")
    for i, name in enumerate(header):
        shown.add_column(name, justify="left" if i == 0 else "right", no_wrap=i == 0)
    for row in rows:
        shown.add_row(*row)
    Console(width=None if sys.stdout.isatty() else 110).print(shown)


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a markdown table, its first column to the left and the others to the right."""
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def command(arguments: Sequence[str], module: str = "benchmarks.speed") -> str:
    """Return the command as it can be published: names of options instead of paths of a machine."""
    shown, option = [f"python -m {module}"], ""
    for argument in arguments:
        name, equals, value = argument.partition("=")
        if option in PATHS or (name in PATHS and equals):
            value = argument if option in PATHS else value
            contender, both, _ = value.partition("=")
            hidden = f"{contender}=PATH" if both else "PATH"
            is_document = (option or name) == "--output"
            hidden = value.rpartition("/")[2] if is_document else hidden
            shown.append(hidden if option in PATHS else f"{name}={hidden}")
            option = ""
            continue
        option = argument if argument in PATHS else ""
        shown.append(argument)
    return " ".join(shown)


def busy(rows: Sequence[Row]) -> str:
    """Return a clause about the share of a core that a contender had, where it was measured."""
    shares = [share for row in rows for share in row.shares]
    if not shares:
        return ""
    return f"; a contender had {100 * statistics.median(shares):.0f} % of a core in the median turn"


def markdown(report: Report) -> str:
    """Return the document."""
    machine = process.machine()
    versions = {k: v for k, v in report.versions.items() if k != "device"}
    on_cpu = report.device == "cpu"
    parts = [
        "# Speed",
        "Tasks (episodes) per second of one meta-batch's meta-gradient, side by side with other "
        "libraries on the same work: same network, same weights and data, statistics of the batch "
        "in batch normalization. Every contender has a process of its own on the same core; they "
        "take turns, and medians are shown. `ratio` is to learn2learn, or to the plain loop where "
        "learn2learn is missing. `memory` is the peak above what was resident after the imports, "
        "`in all` the whole; the first batch includes compilation. `float32` and `float64` are the "
        "relative distance of the meta-gradients to ours: rounding errors move inputs over the "
        "kinks of rectifiers and max-pooling, so that float64 judges whether it is the same work."
        + (KEEPING if on_cpu else ON_GPU),
        f"Made by `{command(report.command)}` on {datetime.datetime.now(datetime.UTC):%Y-%m-%d}.",
        "\n".join(
            [
                f"- Machine: {', '.join(f'{k} {v}' for k, v in machine.items())}; "
                f"{report.threads} thread{'s' * (report.threads != 1)} for each contender",
                f"- Versions: {', '.join(f'{k} {v}' for k, v in versions.items())}",
                f"- {CLOCKS[report.clock]}{busy(report.rows)}",
                "- GPU: see [speed-gpu.md](speed-gpu.md)"
                if on_cpu
                else f"- GPU: {report.versions.get('device')}",
            ]
        ),
    ]
    for title, rows in groupby(report.rows, key=lambda row: row.workload):
        listed = list(rows)
        parts += [f"## {title}", table(HEADER, [row.cells() for row in listed])]
        parts += reasons(listed)
    if report.overheads:
        overheads = [_values(row) for row in report.overheads]
        parts += [
            "## Beside training",
            "Microseconds an episode on the sinusoids (meta-batches of 25, second order, 1 step), "
            "and as a share of training: drawing the episodes, and recording every one of them "
            "(rows, parquet, digest, file). The goal is at most 5 % each.",
            table(list(report.overheads[0]), overheads),
        ]
    return "\n\n".join(parts) + "\n"

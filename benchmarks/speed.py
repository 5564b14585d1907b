"""Ours side by side with other libraries: `python -m benchmarks.speed`.

Measured are meta-gradients of one meta-batch, as tasks (episodes) per second, and the memory it
takes, on the workloads of `benchmarks.workloads`. All contenders of a workload get the same
weights and data, and are first held to agree: in float32, the relative distance of their
meta-gradients to ours; at the end, once memory has been read, in float64 on two episodes. (With
rectifiers and max-pooling, gradients in float32 can differ by per cents after several steps where
those in float64 agree to 1e-14: a rounding error decides which side of a kink an input is on.)

Each contender runs in a process of its own, on the same core, and they take turns: a change of the
machine's load or clock rate meets them all. Where others use the machine too, `--clock cpu` counts
the processor time that one thread was given instead of the time on the wall. glibc returns freed
memory to the system, and the page faults of taking it again can cost a convolutional network a
third of its time; `--keep-memory` tells it not to, for all alike. Missing libraries are shown as
such; none is a dependency. They can live elsewhere:

    pip install --target LIBRARIES --no-deps higher torchopt optree graphviz
    git clone https://github.com/learnables/learn2learn CHECKOUT
    python -m venv JAX && JAX/bin/pip install jax
    python -m benchmarks.speed --path LIBRARIES --learn2learn CHECKOUT \\
        --python jax=JAX/bin/python --output docs/speed.md

learn2learn does not build on recent Pythons; the checkout is used as it is (see
`benchmarks.contenders.with_learn2learn`). On the sinusoids, what sampling and recording cost is
measured too (`benchmarks.overheads`).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Literal

import numpy as np

from benchmarks import report
from benchmarks.contenders import CONTENDERS, LABELS, NotOfferedError
from benchmarks.remote import (
    ROOT,
    ContenderError,
    NotInstalledError,
    Remote,
    Settings,
    environment,
)
from benchmarks.report import Report, Row
from benchmarks.workloads import Workload, select

DOUBLE_EPISODES = 2
REFERENCES = ("ours", "ours_compiled", "ours_captured", "plain_loop")
RATIO_TO = ("learn2learn", "plain_loop")
Clock = Literal["wall", "cpu"]


def compare(
    workload: Workload,
    contenders: Sequence[str],
    settings: Settings,
    *,
    seconds: float,
    turns: int,
    clock: Clock,
    double: bool,
) -> tuple[list[Row], dict[str, str]]:
    """Measure one workload. Returns a row per contender, and the versions that were met."""
    rows = {name: Row(workload.title, LABELS.get(name, name)) for name in contenders}
    versions: dict[str, str] = {}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        workers: dict[str, Remote] = {}

        def drop(name: str, error: Exception) -> None:
            rows[name].failure, rows[name].reason = told(error)
            workers.pop(name, None)

        def vectors(kind: str, size: int) -> dict[str, np.ndarray]:
            found = {}
            for name, worker in list(workers.items()):
                file = folder / f"{name}-{kind}.npy"
                try:
                    _say(f"{workload.name}: {rows[name].contender}: gradients in {kind}")
                    built = worker.ask("build", workload=workload.name, dtype=kind, size=size)
                    done = worker.ask("gradients", path=str(file))
                except (NotOfferedError, ContenderError) as error:
                    drop(name, error)
                    continue
                if kind == "float32":
                    rows[name].notes = built["notes"]
                    rows[name].first_seconds = done["seconds"]
                found[name] = np.load(file)
            return found

        for name in contenders:
            workers[name] = stack.enter_context(Remote(name, settings))
            workers[name].send("import")
        for name, worker in list(workers.items()):
            try:
                met = worker.answer()
                versions |= {k: v for k, v in met["versions"].items() if k not in versions}
                if versions.get("device", settings.device) == settings.device:
                    # Who knows the name of the GPU tells it; JAX does not.
                    versions["device"] = met["device"]
            except (NotInstalledError, ContenderError) as error:
                drop(name, error)

        for name, distance in distances(vectors("float32", workload.meta_batch_size)).items():
            rows[name].float32 = distance
        for turn in range(turns):
            _say(f"{workload.name}: turn {turn + 1} of {turns}")
            for name, worker in list(workers.items()):
                try:
                    timed = worker.ask("time", seconds=seconds)
                except ContenderError as error:
                    drop(name, error)
                    continue
                rate = timed["batches"] * workload.meta_batch_size / timed[clock]
                rows[name].rates.append(rate)
                rows[name].shares.append(timed["cpu"] / timed["wall"])
        for name, worker in list(workers.items()):
            try:
                memory = worker.ask("memory")
            except ContenderError as error:
                drop(name, error)
                continue
            rows[name].baseline, rows[name].peak = memory["baseline"], memory["peak"]
            rows[name].device_peak = memory["device_peak"]
        if double:
            for name, distance in distances(vectors("float64", DOUBLE_EPISODES)).items():
                rows[name].float64 = distance
    report.set_ratios([rows[name] for name in contenders], _baseline(rows))
    return list(rows.values()), versions


def usual(workload: Workload, device: str) -> list[str]:
    """Return who is measured if nobody is named.

    All, but for what the engine does not choose: on a CPU, compiled convolutional networks, which
    take minutes, and on a GPU, compiled programs.
    """
    on_cpu = device == "cpu"
    left_out = {"ours_captured"} if on_cpu else {"ours_compiled"}
    if workload.filters:
        left_out.add("ours_compiled")
    return [name for name in CONTENDERS if name not in left_out]


def distances(vectors: dict[str, np.ndarray]) -> dict[str, float]:
    """Return |g - ours| / |ours| for each contender; the plain loop stands in where ours is not."""
    reference = next((vectors[name] for name in REFERENCES if name in vectors), None)
    if reference is None:
        return {}
    norm = np.linalg.norm(reference)
    return {name: float(np.linalg.norm(g - reference) / norm) for name, g in vectors.items()}


def _baseline(rows: dict[str, Row]) -> Row | None:
    """Return the row that ratios refer to: learn2learn, or the plain loop where it is absent."""
    return next((rows[name] for name in RATIO_TO if name in rows and rows[name].rates), None)


def told(error: Exception) -> tuple[str, str]:
    """Return why there are no numbers, in two words, and the reason where there is more to say."""
    if isinstance(error, NotInstalledError):
        return "not installed", ""
    return ("not offered" if isinstance(error, NotOfferedError) else "failed"), str(error)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def overheads(settings: Settings, seconds: float, clock: Clock) -> list[dict[str, object]]:
    """Return what `benchmarks.overheads` measures, in a process of its own."""
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "benchmarks.overheads",
            "--json",
            f"--seconds={seconds}",
            f"--threads={settings.threads}",
            f"--device={settings.device}",
            f"--clock={clock}",
        ],
        cwd=ROOT,
        env=environment(settings),
        stdout=subprocess.PIPE,
        text=True,
    )
    if done.returncode:
        _say("the overheads could not be measured: pandas and pyarrow are needed")
        return []
    return json.loads(done.stdout)


def _pairs(values: list[str]) -> Iterator[tuple[str, str]]:
    for value in values:
        name, equals, path = value.partition("=")
        if name not in CONTENDERS or not equals:
            raise SystemExit(f"--python {value!r}: must be NAME=PATH, NAME one of {_known()}")
        yield name, path


def _known() -> str:
    return ", ".join(CONTENDERS)


def arguments_of(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.speed",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--workload", nargs="+", help="names, or how they start: W1 W2-anil")
    parser.add_argument("--contender", nargs="+", choices=list(CONTENDERS), help="default: all")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of each contender")
    parser.add_argument("--seconds", type=float, default=1.0, help="of a turn, at least a batch")
    parser.add_argument("--turns", type=int, default=5, help="measurements to take the median of")
    parser.add_argument(
        "--clock",
        choices=("wall", "cpu"),
        default="wall",
        help="cpu: seconds of processor time, for one thread on a machine that others use too",
    )
    parser.add_argument("--no-float64", action="store_true", help="skip the check in float64")
    parser.add_argument("--no-overheads", action="store_true", help="skip sampling and recording")
    parser.add_argument("--python", action="append", default=[], metavar="NAME=PATH")
    parser.add_argument("--path", action="append", default=[], help="folder of more libraries")
    parser.add_argument("--learn2learn", help="checkout of its source")
    parser.add_argument("--programs", help="keep compiled programs here (default: compile anew)")
    parser.add_argument(
        "--keep-memory", action="store_true", help="let glibc keep freed memory, for all alike"
    )
    parser.add_argument("--output", type=Path, help="write a markdown document")
    return parser.parse_args(argv)


def main() -> None:
    """Measure, print and write."""
    arguments = arguments_of()
    try:
        chosen = select(arguments.workload)
    except ValueError as error:
        raise SystemExit(str(error)) from error
    if arguments.clock == "cpu" and (arguments.threads > 1 or arguments.device != "cpu"):
        raise SystemExit("--clock cpu: of use for one thread on a CPU alone")
    with tempfile.TemporaryDirectory() as fresh:
        settings = Settings(
            device=arguments.device,
            threads=arguments.threads,
            pythons=dict(_pairs(arguments.python)),
            paths=tuple(str(Path(path).resolve()) for path in arguments.path),
            learn2learn=arguments.learn2learn,
            programs=arguments.programs or fresh,
            keep_memory=arguments.keep_memory,
        )
        found = Report(sys.argv[1:], arguments.device, arguments.threads, arguments.clock)
        for workload in chosen:
            rows, versions = compare(
                workload,
                arguments.contender or usual(workload, arguments.device),
                settings,
                seconds=arguments.seconds,
                turns=arguments.turns,
                clock=arguments.clock,
                double=not arguments.no_float64,
            )
            found.rows += rows
            found.versions |= versions
            report.show(rows)
            if arguments.output:
                arguments.output.write_text(report.markdown(found))
        if not arguments.no_overheads and any(not workload.filters for workload in chosen):
            found.overheads = overheads(settings, 4 * arguments.seconds, arguments.clock)
            report.show_overheads(found.overheads)
    if arguments.output:
        arguments.output.write_text(report.markdown(found))


if __name__ == "__main__":
    main()

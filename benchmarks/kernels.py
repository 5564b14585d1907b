"""Which kernels take the time on a GPU? Run with `python -m benchmarks.kernels`.

A workload of `benchmarks.speed` is captured as a CUDA graph and replayed under torch's profiler.
Printed are, for each kernel and grid of programs, how often it runs in a meta-batch and what that
takes, the longest first.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections import defaultdict
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks import report
from benchmarks.contenders import Options, ours
from benchmarks.workloads import Workload, select

BATCHES = 5
HEADER = ("kernel", "grid", "times", "microseconds", "share, %")


def rows(workload: Workload, show: int) -> list[list[str]]:
    """Return the table of one workload."""
    contender = ours.captured(workload, Options("cuda"))
    for _ in range(3):
        contender.run()
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as recorded:
        for _ in range(BATCHES):
            contender.run()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "trace.json")
        recorded.export_chrome_trace(str(path))
        events = json.loads(path.read_text())["traceEvents"]
    taken: dict[tuple[str, str], list[float]] = defaultdict(list)
    for event in events:
        if event.get("cat") in ("kernel", "gpu_memcpy", "gpu_memset"):
            grid = "x".join(map(str, event["args"].get("grid", [])))
            taken[event["name"][:48], grid].append(event["dur"])
    whole = sum(map(sum, taken.values()))
    longest = sorted(taken.items(), key=lambda item: -sum(item[1]))
    found = [
        [
            name,
            grid,
            f"{len(each) / BATCHES:.0f}",
            f"{sum(each) / BATCHES:.0f}",
            f"{100 * sum(each) / whole:.1f}",
        ]
        for (name, grid), each in longest[:show]
    ]
    count = sum(map(len, taken.values())) / BATCHES
    return [*found, ["all", "", f"{count:.0f}", f"{whole / BATCHES:.0f}", "100"]]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--workload", nargs="+", default=["W3"], help="names, or how they start")
    parser.add_argument("--show", type=int, default=25, help="how many kernels")
    arguments = parser.parse_args()
    for workload in select(arguments.workload):
        title = f"{workload.title}: torch {torch.__version__}, {torch.cuda.get_device_name()}"
        report.show_table(title, HEADER, rows(workload, arguments.show))


if __name__ == "__main__":
    main()

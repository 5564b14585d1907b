"""How exact is a meta-gradient? Run with `python -m benchmarks.precision --device cuda`.

Printed is the relative distance of the meta-gradients of a few episodes to those of the plain loop
in float64: of the plain loop with products of 32-bit numbers and with torch's default for them, and
of ours in each precision of `algorithms.precision`. Rectifiers and maxima have kinks: where a
rounding error moves a value over one, a gradient jumps, and every inner step adds to that.
"""

from __future__ import annotations

import argparse

import numpy as np
import torch

from algorithms import engine
from algorithms.precision import PRECISIONS, computing_in
from benchmarks import report
from benchmarks.contenders import Contender, Options, ours, plain_loop
from benchmarks.workloads import Workload, select

HEADER = ("workload", "torch, float32", "torch, default", *(f"ours, {p}" for p in PRECISIONS))


def row(workload: Workload, device: torch.device) -> list[str]:
    """Return the distances on one workload."""

    def vector(contender: Contender) -> np.ndarray:
        return contender.flat(contender.run())

    options = Options(str(device))
    exact = vector(plain_loop.build(workload, Options(str(device), "float64")))
    with computing_in("float32", device):
        found = [vector(plain_loop.build(workload, options))]
    found.append(vector(plain_loop.build(workload, options)))
    for precision in PRECISIONS:
        formulation = engine.Formulation(workload.meta_batch_size, precision=precision)
        found.append(vector(ours.build(workload, options, formulation)))
    norm = np.linalg.norm(exact)
    return [workload.title, *(f"{np.linalg.norm(each - exact) / norm:.0e}" for each in found)]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--workload", nargs="+", help="names, or how they start")
    parser.add_argument("--episodes", type=int, default=4)
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    chosen = [workload.of_size(arguments.episodes) for workload in select(arguments.workload)]
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    rows = [row(workload, device) for workload in chosen]
    report.show_table(f"torch {torch.__version__}, {name}", HEADER, rows)


if __name__ == "__main__":
    main()

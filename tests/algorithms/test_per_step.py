"""The running statistics that MAML++ keeps of every inner step."""

from __future__ import annotations

import torch

from algorithms.parts.per_step import no_statistics, stored_statistics
from networks import Params, build


def test_before_any_statistics_were_seen_they_are_those_of_the_standard_normal() -> None:
    network = build("conv4", (1, 28, 28), 5, {"filters": 4, "depth": 2})
    hyper = {"inner_steps": 3}
    state = no_statistics(network, hyper)
    stacked = {name: torch.stack([value, value]) for name, value in state.items()}
    seen = moved_by_ones(stacked)
    for step in range(4):
        for mean, variance in stored_statistics(state, step).values():
            assert (mean == 0).all()
            assert (variance == 1).all()
        for mean, variance in stored_statistics(seen, step).values():
            # The second replica has seen nothing.
            assert (mean[1] == 0).all()
            assert (variance[1] == 1).all()
            assert (mean[0] - 1).abs().max() < 1e-6
            assert (variance[0] - 1).abs().max() < 1e-6


def moved_by_ones(state: Params) -> Params:
    """Return the state of two replicas, the first of which has seen ones."""
    moved = {name: value.clone() for name, value in state.items()}
    for value in moved.values():
        value[0] = 0.1
    return moved

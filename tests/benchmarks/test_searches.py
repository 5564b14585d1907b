"""What the benchmark of the ready-made searches calls wrong."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.searches import HEADER, SEARCHES, Ran
from search.spec_source import ready_made_names


def ran(metric: str, best: float, half: float, minutes: float = 1.0) -> Ran:
    """Return a search whose best trial has these values on both splits; the baseline has 0.5."""
    entry: dict[str, Any] = {"metric": metric, "algorithm": "maml", "network": "mlp"}
    for split in ("validation", "test"):
        entry |= {f"{split}_mean": best, f"{split}_ci95_low": best - half}
        entry[f"{split}_ci95_high"] = best + half
    baseline = {"name": "chance", "validation_mean": 0.5, "test_mean": 0.5}
    return Ran("mine", minutes, {"baseline": baseline, "ranked": [entry], "failed": []})


@pytest.mark.parametrize(
    ("metric", "best"), [("query_accuracy", 0.7), ("query_iou", 0.7), ("query_loss", 0.3)]
)
def test_a_best_trial_counts_where_its_interval_is_on_the_better_side(
    metric: str, best: float
) -> None:
    assert ran(metric, best, 0.1).wrong() == []
    unclear = [
        f"mine: on meta-{split} the best is not clear of chance" for split in ("validation", "test")
    ]
    assert ran(metric, best, 0.25).wrong() == unclear
    assert ran(metric, 1 - best, 0.1).wrong() == unclear


def test_ten_minutes_are_allowed() -> None:
    assert ran("query_accuracy", 0.7, 0.1, 10.0).wrong() == []
    [line] = ran("query_accuracy", 0.7, 0.1, 10.1).wrong()
    assert "10.1 minutes" in line


def test_a_row_has_a_cell_for_each_heading() -> None:
    row = dict(zip(HEADER, ran("query_accuracy", 0.71, 0.1).row(), strict=True))
    assert (row["best"], row["meta-test"]) == ("maml, mlp", "0.710 ± 0.100")


def test_every_search_is_a_ready_made_one() -> None:
    assert set(SEARCHES) <= set(ready_made_names())

"""The task `arrays`: numbers that 32 bits cannot tell apart."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from episodes import load
from episodes.arrays.moments import moments
from tests.episodes.arrays_files import WRITERS, write_npz

TASKS, ROWS = 6, 100
SECONDS = 1_700_000_000
"""32-bit numbers as large as this are 128 apart."""


@pytest.fixture(autouse=True)
def _cache(empty_cache: Path) -> None:
    """Every test decodes anew."""


def drawn(file: Path, standardize: bool = True, **columns: Any):
    """Return all inputs and targets of meta-train, in the order drawn, and the digest."""
    splits = file.with_suffix(".json")
    splits.write_text(json.dumps({"train": [0, 1, 2, 3], "validation": [4], "test": [5]}))
    options = {"file": str(file), "task": "unit", "splits": str(splits), **columns}
    options["standardize"] = standardize
    found = load("arrays", shots=50, query_shots=50, options=options)
    episodes = found.sample("train", 0, range(60))
    both = episodes.support, episodes.query
    inputs = torch.cat([part.inputs for part in both], dim=1)
    targets = torch.cat([part.targets for part in both], dim=1)
    return inputs.numpy(), targets.numpy(), found.digest


def times(step: float = 1) -> dict[str, np.ndarray]:
    unit = np.repeat(np.arange(TASKS), ROWS)
    when = SECONDS + step * np.arange(TASKS * ROWS)
    return {"unit": unit, "when": when, "other": 0.1 * np.arange(TASKS * ROWS) + 3, "y": 1.0 * unit}


@pytest.mark.parametrize("suffix", WRITERS)
@pytest.mark.parametrize("step", [1, 0.25])
def test_a_feature_of_seconds_keeps_its_values(suffix: str, step: float, tmp_path: Path) -> None:
    columns = times(step)
    inputs, _, _ = drawn(WRITERS[suffix](tmp_path / f"a{suffix}", columns), target="y")
    train = columns["unit"] < 4
    for place, name in enumerate(("when", "other")):
        of_train = columns[name][train]
        expected = (of_train - of_train.mean()) / of_train.std()
        np.testing.assert_allclose(np.unique(inputs[..., place]), expected, rtol=1e-5, atol=1e-6)


def test_a_target_of_seconds_keeps_its_values(tmp_path: Path) -> None:
    columns = times()
    _, targets, _ = drawn(write_npz(tmp_path / "a.npz", columns), target="when", features="other")
    found = np.unique(targets)
    assert len(found) == 4 * ROWS
    assert found.std() == pytest.approx(1, rel=1e-4)


def test_times_that_differ_below_32_bits_are_other_data(tmp_path: Path) -> None:
    one, other = times(1.0), times(1.0)
    other["when"][7] += 0.5
    digests = {
        drawn(write_npz(tmp_path / f"{k}.npz", columns), target="y")[2]
        for k, columns in enumerate((one, other))
    }
    assert len(digests) == 2


def test_what_is_not_scaled_is_rounded_to_32_bits(tmp_path: Path) -> None:
    inputs, _, _ = drawn(write_npz(tmp_path / "a.npz", times()), standardize=False, target="y")
    assert inputs.dtype == np.float32
    assert set(np.unique(inputs[..., 0])) <= set(times()["when"].astype(np.float32))


def test_what_32_bits_can_hold_has_the_digest_that_it_had(tmp_path: Path) -> None:
    columns = {**times(), "when": np.random.default_rng(0).normal(100, 3, TASKS * ROWS)}
    columns["steady"] = np.full(TASKS * ROWS, 0.1)
    digest = drawn(write_npz(tmp_path / "a.npz", columns), target="y")[2]
    assert digest == "eff811b527233c8f"
    single = {name: column.astype(np.float32) for name, column in columns.items()}
    single["unit"] = columns["unit"]
    assert drawn(write_npz(tmp_path / "b.npz", single), target="y")[2] == digest


def test_constant_is_what_varies_by_rounding_alone() -> None:
    rows = np.arange(8)
    last_bit = np.array([1, 1, 1, 1, 1, 1, 1, -1])[:, None]
    for least, number in ((np.float32, 0.1), (np.float64, 0.1), (np.float64, 1.7e9)):
        steady = np.full((8, 1), number, dtype=least)
        noisy = np.nextafter(steady, (steady + last_bit).astype(least))
        assert noisy.std() > 0
        assert moments(noisy, rows).deviation == 1
    varied = 1.7e9 + np.arange(8.0)[:, None]
    np.testing.assert_allclose(moments(varied, rows).deviation, varied.std())

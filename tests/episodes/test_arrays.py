"""The task `arrays`: what its episodes are made of."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from episodes import DataError, load
from episodes.arrays.distribution import Arrays
from episodes.episode import SPLITS
from tests.episodes.arrays_files import WRITERS, curves, flowers, write_csv, write_npz

CURVES = {"task": "unit", "target": "y"}
FLOWERS = {"kind": "classification", "target": "kind"}


@pytest.fixture(autouse=True)
def _cache(empty_cache: Path) -> None:
    """Every test decodes anew."""


def arrays(file: Path, shots: int = 4, query_shots: int = 3, ways: int | None = None, **options):
    options = {"file": str(file), **options}
    return load("arrays", ways=ways, shots=shots, query_shots=query_shots, options=options)


@pytest.fixture(params=WRITERS)
def file(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return WRITERS[request.param](tmp_path / f"curves{request.param}", curves())


def seen(distribution: Arrays, split: str, episodes: int = 200):
    """Return inputs and targets, support then query, of many episodes as float64 arrays."""
    drawn = distribution.sample(split, 1, range(episodes))
    return tuple(
        torch.cat([getattr(part, name) for part in (drawn.support, drawn.query)], 1)
        .double()
        .numpy()
        for name in ("inputs", "targets")
    )


def test_an_episode_is_distinct_rows_of_one_task(file: Path) -> None:
    plain = arrays(file, **CURVES, standardize=False)
    assert (plain.kind, plain.input_shape, plain.outputs) == ("regression", (2,), 1)
    assert plain.train_classes is None
    tasks_of = {}
    for split in SPLITS:
        x, y = seen(plain, split)
        slopes = y[..., 0] / np.where(x[..., 0] == x[..., 1], np.nan, x[..., 0] - x[..., 1])
        tasks_of[split] = set(np.nanmedian(slopes, axis=1))
        assert np.nanmax(np.nanstd(slopes, axis=1)) < 1e-9
        for episode in x:
            assert len(np.unique(episode, axis=0)) == 7
    # 12 tasks: 2 for meta-validation, 2 for meta-test, each of them seen, none twice.
    assert {split: len(tasks) for split, tasks in tasks_of.items()} == {
        "train": 8,
        "validation": 2,
        "test": 2,
    }
    assert set.union(*tasks_of.values()) == set(np.arange(1.0, 13.0))


def test_the_same_values_in_another_format_are_the_same_data(tmp_path: Path) -> None:
    files = [write(tmp_path / f"a{suffix}", curves()) for suffix, write in WRITERS.items()]
    distributions = [arrays(file, **CURVES) for file in files]
    assert len({distribution.digest for distribution in distributions}) == 1
    first, *others = (distribution.sample("test", 3, range(9)) for distribution in distributions)
    for other in others:
        assert torch.equal(first.query.inputs, other.query.inputs)


def test_a_file_that_moves_is_the_same_data_and_one_that_changes_is_not(tmp_path: Path) -> None:
    first = arrays(write_npz(tmp_path / "a.npz", curves()), **CURVES)
    (tmp_path / "elsewhere").mkdir()
    moved = (tmp_path / "a.npz").rename(tmp_path / "elsewhere" / "b.npz")
    assert arrays(moved, **CURVES).digest == first.digest
    changed = curves()
    changed["y"][17] += 1
    assert arrays(write_npz(moved, changed), **CURVES).digest != first.digest


def test_every_option_that_changes_episodes_changes_the_digest(tmp_path: Path) -> None:
    file = write_npz(tmp_path / "a.npz", curves())
    changes = [
        {},
        {"standardize": False},
        {"split_seed": 1},
        {"test_share": 0.4},
        {"validation_share": 0.4},
        {"features": ["x1"]},
        {"features": ["x2", "x1"]},
        {"target": ["y", "x2"], "features": ["x1"]},
        {"window": 2},
        {"leave_out_small": True},
    ]
    digests = {arrays(file, **(CURVES | change)).digest for change in changes}
    assert len(digests) == len(changes)
    shots = arrays(file, shots=1, **CURVES).digest
    assert shots == arrays(file, **CURVES).digest


def test_values_are_scaled_by_the_moments_of_meta_train(tmp_path: Path) -> None:
    columns = curves()
    file = write_npz(tmp_path / "a.npz", columns)
    plain, scaled = (arrays(file, **CURVES, standardize=scale) for scale in (False, True))
    x, y = seen(plain, "train", 400)
    train = np.isin(columns["unit"] + 1.0, np.unique(np.round(np.abs(y / (x @ [[1], [-1]])))))
    assert train.sum() == 8 * 30
    for split in SPLITS:
        (x, y), (x_scaled, y_scaled) = seen(plain, split), seen(scaled, split)
        for column, values, found in (("x1", x[..., 0], x_scaled[..., 0]), ("y", y, y_scaled)):
            rows = columns[column][train]
            np.testing.assert_allclose(
                found, (values - rows.mean()) / rows.std(), rtol=1e-5, atol=1e-6
            )


def test_a_constant_column_is_only_moved(tmp_path: Path) -> None:
    columns = curves() | {"x2": np.full(360, 0.1)}
    x, _ = seen(arrays(write_npz(tmp_path / "a.npz", columns), **CURVES), "test")
    assert np.abs(x[..., 1]).max() < 1e-6


def test_several_targets_and_chosen_features(tmp_path: Path) -> None:
    file = write_csv(tmp_path / "a.csv", curves())
    both = arrays(file, task="unit", target=["y", "x2"], features="x1", standardize=False)
    assert (both.input_shape, both.outputs) == ((1,), 2)
    drawn = both.sample("train", 0, range(3))
    assert drawn.support.targets.shape == (3, 4, 2)
    slope = drawn.support.targets[..., 0] / (
        drawn.support.inputs[..., 0] - drawn.support.targets[..., 1]
    )
    torch.testing.assert_close(slope, slope[:, :1].expand_as(slope))


def test_series_of_an_npz_file_keep_their_shape(tmp_path: Path) -> None:
    columns = curves()
    series = np.stack([columns["x1"] + step for step in range(6)], axis=1)[..., None]
    columns = {"unit": columns["unit"], "y": columns["y"], "series": series, "other": 2 * series}
    file = write_npz(tmp_path / "a.npz", columns)
    found = arrays(file, **CURVES, standardize=False)
    assert found.input_shape == (6, 2)
    inputs = found.sample("train", 0, range(2)).support.inputs
    assert inputs.shape == (2, 4, 6, 2)
    torch.testing.assert_close(inputs[..., 1], 2 * inputs[..., 0])
    torch.testing.assert_close(inputs[:, :, 5, 0], inputs[:, :, 0, 0] + 5)


def test_a_window_is_consecutive_rows_of_one_task_and_the_last_ones_target(tmp_path: Path) -> None:
    # Two interleaved series and more: rows of a task are consecutive among its own only.
    steps, units = 20, 6
    unit = np.tile(np.arange(units), steps)
    time = np.repeat(np.arange(steps), units)
    columns = {"unit": unit, "t": time, "u": unit, "y": 100 * unit + time}
    file = write_parquet_of(tmp_path, columns)
    found = arrays(file, **CURVES, window=3, standardize=False)
    assert found.input_shape == (3, 2)
    x, y = seen(found, "train")
    assert (np.diff(x[..., 0], axis=2) == 1).all()
    assert (x[..., 1] == x[:, :1, :1, 1]).all()
    assert (y[..., 0] == 100 * x[..., -1, 1] + x[..., -1, 0]).all()
    assert x[..., 0, 0].min() == 0
    assert x[..., -1, 0].max() == steps - 1


def write_parquet_of(folder: Path, columns) -> Path:
    return WRITERS[".parquet"](folder / "a.parquet", columns)


@pytest.mark.parametrize("suffix", WRITERS)
def test_without_tasks_labels_are_split_as_classes_are(suffix: str, tmp_path: Path) -> None:
    file = WRITERS[suffix](tmp_path / f"a{suffix}", flowers(labels=9))
    share = {"validation_share": 0.3, "test_share": 0.3}
    found = arrays(file, ways=3, **FLOWERS, **share, standardize=False)
    assert (found.kind, found.outputs, found.train_classes) == ("classification", 3, 3)
    labels = {}
    for split in SPLITS:
        drawn = found.sample(split, 0, range(100))
        assert drawn.support.targets.tolist() == [[0] * 4 + [1] * 4 + [2] * 4] * 100
        assert drawn.query.targets.tolist() == [[0] * 3 + [1] * 3 + [2] * 3] * 100
        of_support = drawn.support.inputs[..., 0].reshape(100, 3, 4)
        of_query = drawn.query.inputs[..., 0].reshape(100, 3, 3)
        assert (of_support == of_support[:, :, :1]).all()
        assert (of_query == of_support[:, :, :1]).all()
        assert all(len(set(classes)) == 3 for classes in drawn.classes.tolist())
        # A class id is one label, and the other way round.
        pairs = set(
            zip(
                drawn.classes.flatten().tolist(),
                of_support[:, :, 0].flatten().tolist(),
                strict=True,
            )
        )
        assert [number for number, _ in sorted(pairs)] == [0, 1, 2]
        labels[split] = {label for _, label in pairs}
    assert set.union(*labels.values()) == set(range(9))
    assert sum(map(len, labels.values())) == 9


def test_with_tasks_an_episode_is_labels_of_one_task(tmp_path: Path) -> None:
    file = write_npz(tmp_path / "a.npz", flowers(units=7, labels=4))
    found = arrays(file, ways=3, task="unit", **FLOWERS, standardize=False)
    units = {}
    for split in SPLITS:
        drawn = found.sample(split, 0, range(150))
        inputs = torch.cat([drawn.support.inputs, drawn.query.inputs], dim=1)
        assert (inputs[..., 1] == inputs[:, :1, 1]).all()
        units[split] = set(inputs[:, 0, 1].tolist())
        assert set(inputs[..., 0].flatten().tolist()) == {0, 1, 2, 3}
    assert {split: len(found) for split, found in units.items()} == {
        "train": 5,
        "validation": 1,
        "test": 1,
    }
    assert len(set.union(*units.values())) == 7
    assert found.train_classes == 5 * 4


def test_a_split_file_says_which_task_is_where(tmp_path: Path) -> None:
    file = write_npz(tmp_path / "a.npz", curves(tasks=6))
    splits = tmp_path / "splits.json"
    splits.write_text(json.dumps({"train": [0, "3"], "validation": [5], "test": [1, 2]}))
    found = arrays(file, **CURVES, splits=str(splits), standardize=False)
    for split, tasks in (("train", {1, 4}), ("validation", {6}), ("test", {2, 3})):
        x, y = seen(found, split, 50)
        slopes = y[..., 0] / np.where(x[..., 0] == x[..., 1], np.nan, x[..., 0] - x[..., 1])
        assert set(np.nanmedian(slopes, axis=1)) == tasks
    other = tmp_path / "other.json"
    other.write_text(json.dumps({"test": [2, 1], "validation": ["5"], "train": [3, 0]}))
    same = arrays(file, **CURVES, splits=str(other), standardize=False)
    assert same.digest == found.digest


def test_small_tasks_and_labels_are_left_out_on_demand(tmp_path: Path) -> None:
    columns = curves(tasks=6, rows=10)
    short = columns["unit"] == 2
    kept = ~short | (np.cumsum(short) <= 5)
    file = write_npz(tmp_path / "a.npz", {name: column[kept] for name, column in columns.items()})
    splits = tmp_path / "splits.json"
    splits.write_text(json.dumps({"train": [0, 1, 2], "validation": [3], "test": [4, 5]}))
    found = arrays(file, **CURVES, splits=str(splits), leave_out_small=True, standardize=False)
    x, y = seen(found, "train")
    slopes = y[..., 0] / np.where(x[..., 0] == x[..., 1], np.nan, x[..., 0] - x[..., 1])
    assert set(np.nanmedian(slopes, axis=1)) == {1, 2}


def test_splits_that_share_a_task_are_refused(tmp_path: Path, monkeypatch) -> None:
    shared = {split: np.array([0, 1]) for split in SPLITS}
    monkeypatch.setattr("episodes.arrays.splits._shared", lambda *_: shared)
    with pytest.raises(DataError, match="task '0' is in both train and validation"):
        arrays(write_npz(tmp_path / "a.npz", curves()), **CURVES)


@pytest.mark.parametrize("kind", ["regression", "classification"])
def test_a_batch_equals_its_episodes_one_by_one(kind: str, tmp_path: Path) -> None:
    classification = kind == "classification"
    columns = flowers(units=7) if classification else curves()
    file = write_npz(tmp_path / "a.npz", columns)
    options = FLOWERS | {"task": "unit"} if classification else CURVES
    found = arrays(file, ways=2 if classification else None, **options)
    indices = np.array([5, 0, 123_456_789_012, 5, 31])
    batch = found.sample("validation", 3, indices)
    for t, index in enumerate(indices):
        alone = found.sample("validation", 3, range(index, index + 1))
        assert torch.equal(batch.support.inputs[t], alone.support.inputs[0])
        assert torch.equal(batch.query.targets[t], alone.query.targets[0])
        assert torch.equal(batch.classes[t], alone.classes[0])
    assert len(found.sample("train", 0, range(0))) == 0


def test_tasks_labels_and_rows_are_equally_likely(tmp_path: Path) -> None:
    columns = curves(tasks=5, rows=8)
    columns["row"] = np.arange(40.0)
    file = write_npz(tmp_path / "a.npz", columns)
    found = arrays(file, 2, 1, task="unit", target="y", features="row", standardize=False)
    drawn = found.sample("train", 0, range(8000)).support.inputs.flatten().numpy()
    counts = np.unique(drawn, return_counts=True)[1]
    assert len(counts) == 3 * 8
    expected = 16000 / 24
    # Two of a task's eight rows are drawn together: less spread than of independent draws.
    assert ((counts - expected) ** 2 / expected).sum() < 60


def test_another_process_draws_the_same_and_decodes_nothing(
    tmp_path: Path, start_python, empty_cache: Path
) -> None:
    file = write_csv(tmp_path / "a.csv", curves())
    found = arrays(file, **CURVES)
    drawn = found.sample("test", 9, range(4)).query.inputs.numpy().tobytes()
    code = """
import json, sys
from hashlib import sha256
from episodes import DataError, load

task = load("arrays", shots=4, query_shots=3, options=json.loads(sys.argv[1]))
episodes = task.sample("test", 9, range(4))
print(task.digest, sha256(episodes.query.inputs.numpy().tobytes()).hexdigest())
print("pyarrow" in sys.modules)
"""
    process = start_python(code, json.dumps({"file": str(file), **CURVES}))
    said = process.communicate(timeout=60)[0].split()
    assert said == [found.digest, hashlib.sha256(drawn).hexdigest(), "False"]
    kept = {path.name for path in (empty_cache / "prepared").glob("*.npy")}
    assert len(kept) == 8


def test_columns_are_memory_mapped(tmp_path: Path) -> None:
    found = arrays(write_npz(tmp_path / "a.npz", curves()), **CURVES)
    assert isinstance(found._table.features, np.memmap)

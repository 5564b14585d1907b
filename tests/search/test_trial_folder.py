from __future__ import annotations

import errno
import io
import json
import logging
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import safetensors.torch
import torch

from search import checkpoint, episode_table
from search.attempts import SupersededError
from search.checkpoint import CheckpointError
from search.config import Config
from search.episode_metrics import episode_metrics
from search.errors import UserError
from search.records import EpisodeRecords, concatenate
from search.snapshot import Snapshot
from search.trial_folder import TrialFolder

MakeRecords = Callable[..., EpisodeRecords]

PLAIN_COLUMNS = [name for name in episode_table.COLUMNS if name != "measures"]


def snapshot_at(episodes: int) -> Snapshot:
    return Snapshot({"meta/weight": torch.full((2,), float(episodes))}, {"episodes": episodes})


def seal(folder: TrialFolder, config: Config, make: MakeRecords, first: int, last: int) -> None:
    """Seal training episodes first, ..., last - 1."""
    folder.add([make("train", range(first, last), last)])
    folder.seal(snapshot_at(last), config)


def test_table_holds_every_sealed_row(
    tmp_path: Path, config: Config, make_records: MakeRecords
) -> None:
    folder = TrialFolder(tmp_path)
    parts = [make_records("train", range(100), 100), make_records("rung", range(4), 100)]
    folder.add(parts)
    folder.seal(snapshot_at(100), config)
    last = make_records("test", range(8), 900, steps=5)
    folder.add([last])
    assert len(folder.table()) == 104
    folder.seal(snapshot_at(900), config)

    table = TrialFolder(tmp_path).table()
    assert list(table.columns) == PLAIN_COLUMNS
    assert list(table["split"]) == ["train"] * 100 + ["rung"] * 4 + ["test"] * 8
    assert table["loss_before"].isna().sum() == 100
    np.testing.assert_array_equal(table["loss_after"][-8:], last.loss_after)
    np.testing.assert_array_equal(np.stack(list(table["loss_curve"][-8:])), last.loss_curve)
    assert len(table["loss_curve"][0]) == 0
    assert [shard.rows for shard in folder.shards] == [104, 8]


def test_class_ids_and_accuracies_survive(
    tmp_path: Path, config: Config, make_records: MakeRecords
) -> None:
    folder = TrialFolder(tmp_path)
    records = make_records("validation", range(4, 10), 900, accuracy=True)
    folder.add([records])
    folder.seal(snapshot_at(900), config)
    table = folder.table()
    np.testing.assert_array_equal(np.stack(list(table["classes"])), records.classes)
    np.testing.assert_array_equal(np.stack(list(table["score_curve"])), records.score_curve)


def test_measures_come_as_columns_and_as_metrics(
    tmp_path: Path, config: Config, make_records: MakeRecords
) -> None:
    folder = TrialFolder(tmp_path)
    bleu = np.array([10.0, 12.5, np.nan])
    tested = replace(make_records("test", range(3), 900), measures={"chrf": bleu + 1, "bleu": bleu})
    folder.add([make_records("validation", range(2), 900), tested])
    folder.seal(snapshot_at(900), config)
    table = folder.table()
    assert episode_table.measures(table) == ["bleu", "chrf"]
    np.testing.assert_array_equal(table["bleu"], [np.nan, np.nan, *bleu])
    rows = [row for row in episode_metrics(table, config) if "bleu" in row.key]
    assert rows == [
        ("episode/test/query_bleu_after", 10.0, 0),
        ("episode/test/query_bleu_after", 12.5, 1),
    ]
    both = concatenate([tested, tested]).of("test")
    np.testing.assert_array_equal(both.metric("chrf"), [*bleu + 1, *bleu + 1])


def test_nan_and_infinity_are_kept_and_columns_explain_themselves(
    tmp_path: Path, config: Config, make_records: MakeRecords
) -> None:
    records = make_records("train", range(3), 3)
    records.loss_after[:] = [np.nan, np.inf, 1.0]
    folder = TrialFolder(tmp_path)
    folder.add([records])
    folder.seal(snapshot_at(3), config)
    np.testing.assert_array_equal(folder.table()["loss_after"], [np.nan, np.inf, 1.0])
    schema = pq.read_schema(folder.shard_path(folder.shards[0]))
    assert all(schema.field(name).metadata[b"about"] for name in schema.names)
    assert pq.read_table(folder.shard_path(folder.shards[0]))["loss_after"].null_count == 0


def test_an_empty_folder_has_nothing(tmp_path: Path, config: Config) -> None:
    folder = TrialFolder(tmp_path / "new")
    assert folder.resume(config) is None
    assert folder.shards == ()
    assert list(folder.table().columns) == PLAIN_COLUMNS


def test_resume_drops_what_was_not_sealed(
    tmp_path: Path, config: Config, make_records: MakeRecords
) -> None:
    folder = TrialFolder(tmp_path)
    seal(folder, config, make_records, 0, 10)
    stray = tmp_path / "episodes" / "episodes-00001-0001.parquet"
    stray.write_bytes(b"half a sha")
    folder.add([make_records("train", range(10, 20), 20)])

    resumed = folder.resume(config)
    assert resumed is not None
    assert resumed.state["episodes"] == 10
    assert not stray.exists()
    seal(folder, config, make_records, 10, 20)
    assert list(TrialFolder(tmp_path).table()["index"]) == list(range(20))


def test_only_the_last_two_checkpoints_are_kept(
    tmp_path: Path, config: Config, make_records: MakeRecords
) -> None:
    folder = TrialFolder(tmp_path)
    for first in range(0, 50, 10):
        seal(folder, config, make_records, first, first + 10)
    kept = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert kept == ["0001-000003", "0001-000004"]
    assert len(folder.table()) == 50


def break_checkpoint_json(path: Path) -> None:
    file = path / "checkpoints" / "0001-000001" / "checkpoint.json"
    file.write_bytes(file.read_bytes()[:100])


def break_tensors(path: Path) -> None:
    (file,) = (path / "checkpoints" / "0001-000001").glob("*.safetensors")
    file.write_bytes(file.read_bytes()[:-1])


def break_newest_shard(path: Path) -> None:
    file = path / "episodes" / "episodes-00001-0001.parquet"
    file.write_bytes(file.read_bytes()[:-1])


def lose_newest_shard(path: Path) -> None:
    (path / "episodes" / "episodes-00001-0001.parquet").unlink()


@pytest.mark.parametrize(
    "damage", [break_checkpoint_json, break_tensors, break_newest_shard, lose_newest_shard]
)
def test_damage_falls_back_to_the_checkpoint_before(
    damage: Callable[[Path], Any],
    tmp_path: Path,
    config: Config,
    make_records: MakeRecords,
    caplog: pytest.LogCaptureFixture,
) -> None:
    folder = TrialFolder(tmp_path)
    seal(folder, config, make_records, 0, 10)
    seal(folder, config, make_records, 10, 20)
    damage(tmp_path)
    resumed = TrialFolder(tmp_path)
    with caplog.at_level(logging.WARNING, "metasweep"):
        snapshot = resumed.resume(config)
    assert "going back to the one before" in caplog.text
    assert snapshot is not None
    assert snapshot.state["episodes"] == 10
    assert torch.equal(snapshot.tensors["meta/weight"], torch.full((2,), 10.0))
    seal(resumed, config, make_records, 10, 20)
    assert list(TrialFolder(tmp_path).table()["index"]) == list(range(20))


def files_below(path: Path) -> dict[str, bytes]:
    files = (file for file in path.rglob("*") if file.is_file() and file.parent.name != "attempts")
    return {str(file.relative_to(path)): file.read_bytes() for file in files}


@pytest.mark.parametrize(
    "damage", [break_checkpoint_json, break_tensors, break_newest_shard, lose_newest_shard]
)
def test_what_is_damaged_is_set_aside_with_its_episodes(
    damage: Callable[[Path], Any], tmp_path: Path, config: Config, make_records: MakeRecords
) -> None:
    folder = TrialFolder(tmp_path)
    seal(folder, config, make_records, 0, 10)
    seal(folder, config, make_records, 10, 20)
    damage(tmp_path)
    before = files_below(tmp_path)
    TrialFolder(tmp_path).resume(config)
    after = files_below(tmp_path)
    assert sorted(before.values()) == sorted(after.values())
    aside = {Path(name).parent.as_posix() for name in after.keys() - before.keys()}
    assert aside == {"damaged/0001-000001"}


def test_only_the_last_two_damaged_checkpoints_are_kept(
    tmp_path: Path, config: Config, make_records: MakeRecords
) -> None:
    seal(TrialFolder(tmp_path), config, make_records, 0, 10)
    for _ in range(4):
        folder = TrialFolder(tmp_path)
        folder.resume(config)
        seal(folder, config, make_records, 10, 20)
        newest = max((tmp_path / "checkpoints").iterdir()) / "checkpoint.json"
        newest.write_bytes(b"")
    resumed = TrialFolder(tmp_path).resume(config)
    assert resumed is not None
    assert resumed.state["episodes"] == 10
    kept = sorted(path.name for path in (tmp_path / "damaged").iterdir())
    assert kept == ["0004-000001", "0005-000001"]


def in_description(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    file = path / "checkpoints" / "0001-000001" / "checkpoint.json"
    description = json.loads(file.read_text())
    change(description)
    file.write_text(json.dumps(description))


def of_another_format(path: Path) -> None:
    in_description(path, lambda found: found.update(format="metasweep-checkpoint-2"))


def with_a_field_of_another_version(path: Path) -> None:
    in_description(path, lambda found: found["config"].update(momentum=0.9))


def with_a_shard_of_another_version(path: Path) -> None:
    in_description(path, lambda found: found["shards"][0].update(codec="zstd"))


@pytest.mark.parametrize(
    "change",
    [of_another_format, with_a_field_of_another_version, with_a_shard_of_another_version],
)
def test_a_checkpoint_of_another_version_is_refused_and_everything_kept(
    change: Callable[[Path], Any], tmp_path: Path, config: Config, make_records: MakeRecords
) -> None:
    folder = TrialFolder(tmp_path)
    seal(folder, config, make_records, 0, 10)
    seal(folder, config, make_records, 10, 20)
    change(tmp_path)
    before = files_below(tmp_path)
    with pytest.raises(CheckpointError, match=r"0001-000001/checkpoint\.json: .* version of meta"):
        TrialFolder(tmp_path).resume(config)
    assert files_below(tmp_path) == before


@pytest.mark.parametrize("name", ["*.json", "*.safetensors", "*.parquet", "episodes", "check*s"])
@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.EACCES])
def test_what_cannot_be_read_is_refused_and_everything_kept(
    tmp_path: Path,
    config: Config,
    make_records: MakeRecords,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    number: int,
) -> None:
    """As on a network file system that is away, or a disk that goes bad."""
    folder = TrialFolder(tmp_path)
    seal(folder, config, make_records, 0, 10)
    seal(folder, config, make_records, 10, 20)
    before = files_below(tmp_path)

    def refusing(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(path: Any, *arguments: Any, **options: Any) -> Any:
            if isinstance(path, str | Path):
                at = Path(path)
                if at.match(name) and "attempts" not in at.parts and at.is_relative_to(tmp_path):
                    raise OSError(number, os.strerror(number), str(path))
            return real(path, *arguments, **options)

        return call

    with monkeypatch.context() as patch:
        for call in ("open", "scandir", "listdir"):
            patch.setattr(os, call, refusing(getattr(os, call)))
        patch.setattr(io, "open", refusing(io.open))
        with pytest.raises(CheckpointError, match=f"cannot be read: {os.strerror(number)}"):
            TrialFolder(tmp_path).resume(config)
    assert files_below(tmp_path) == before
    resumed = TrialFolder(tmp_path).resume(config)
    assert resumed is not None
    assert resumed.state["episodes"] == 20


def test_a_checkpoint_that_does_not_fit_into_memory_is_kept(
    tmp_path: Path, config: Config, make_records: MakeRecords, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = TrialFolder(tmp_path)
    seal(folder, config, make_records, 0, 10)
    before = files_below(tmp_path)

    def no_memory(content: bytes) -> None:
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(safetensors.torch, "load", no_memory)
        with pytest.raises(CheckpointError, match="does not fit into the memory"):
            TrialFolder(tmp_path).resume(config)
    assert files_below(tmp_path) == before


def test_whoever_resumes_supersedes_whoever_was_there(
    tmp_path: Path, config: Config, make_records: MakeRecords
) -> None:
    old, new = TrialFolder(tmp_path), TrialFolder(tmp_path)
    seal(old, config, make_records, 0, 10)
    new.resume(config)
    with pytest.raises(SupersededError, match="taken over by process"):
        seal(old, config, make_records, 10, 20)
    seal(new, config, make_records, 10, 20)
    assert list(TrialFolder(tmp_path).table()["index"]) == list(range(20))


def test_what_a_superseded_process_still_writes_is_not_used(
    tmp_path: Path, config: Config, make_records: MakeRecords, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was stopped between its look at the attempts and its writing, and is then woken."""
    old, new = TrialFolder(tmp_path), TrialFolder(tmp_path)
    seal(old, config, make_records, 0, 10)
    new.resume(config)
    seal(new, config, make_records, 10, 20)
    for first in (10, 30, 50):
        old.add([make_records("train", range(first, first + 20), first + 20, seed=8)])
        with monkeypatch.context() as patch:
            checks = iter([lambda number: None, old.attempts.check])
            patch.setattr(old.attempts, "check", lambda number, c=checks: next(c)(number))
            with pytest.raises(SupersededError):
                old.seal(snapshot_at(first + 20), config)
    assert list(new.table()["index"]) == list(range(20))
    resumed = TrialFolder(tmp_path)
    snapshot = resumed.resume(config)
    assert snapshot is not None
    assert snapshot.state["episodes"] == 20
    table = resumed.table()
    assert list(table["index"]) == list(range(20))
    assert set(table["seed"]) == {7}


def test_a_seal_that_fails_leaves_everything_as_it_was(
    tmp_path: Path, config: Config, make_records: MakeRecords, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = TrialFolder(tmp_path)
    seal(folder, config, make_records, 0, 10)
    folder.add([make_records("train", range(10, 20), 20)])

    def full(path: Path, content: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "write_atomically", full)
        for _ in range(3):
            with pytest.raises(OSError, match="No space left"):
                folder.seal(snapshot_at(20), config)
    assert len(list((tmp_path / "checkpoints").iterdir())) == 1
    folder.seal(snapshot_at(20), config)
    assert list(TrialFolder(tmp_path).table()["index"]) == list(range(20))


def test_a_folder_of_another_configuration_is_refused_and_kept(
    tmp_path: Path, config: Config, make_records: MakeRecords
) -> None:
    folder = TrialFolder(tmp_path)
    seal(folder, config, make_records, 0, 10)
    with pytest.raises(UserError, match="belongs to another configuration: seed is 7, asked for 8"):
        TrialFolder(tmp_path).resume(replace(config, seed=8))
    assert len(TrialFolder(tmp_path).table()) == 10

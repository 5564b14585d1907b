from __future__ import annotations

import json
import pickle
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from search import checkpoint
from search.checkpoint import CheckpointError, Shard
from search.config import Config
from search.errors import UserError
from search.snapshot import Snapshot


def test_round_trip(tmp_path: Path, snapshot: Snapshot, config: Config) -> None:
    shards = (Shard("episodes-00000.parquet", 12, "ab" * 32),)
    checkpoint.save(tmp_path / "new" / "folder", snapshot, config, shards)
    for path in (tmp_path / "new" / "folder", tmp_path / "new" / "folder" / "checkpoint.json"):
        found = checkpoint.load(path, config)
        assert found.config == config
        assert found.shards == shards
        assert found.snapshot.state == snapshot.state
        assert found.snapshot.tensors.keys() == snapshot.tensors.keys()
        for name, value in snapshot.tensors.items():
            assert torch.equal(found.snapshot.tensors[name], value)
            assert found.snapshot.tensors[name].dtype == value.dtype


def test_saving_again_replaces_and_leaves_nothing_behind(
    tmp_path: Path, snapshot: Snapshot, config: Config
) -> None:
    checkpoint.save(tmp_path, snapshot, config)
    later = Snapshot({"meta/weight": torch.ones(2)}, {"episodes": 200})
    checkpoint.save(tmp_path, later, config)
    assert checkpoint.load(tmp_path).snapshot.state == {"episodes": 200}
    assert len(list(tmp_path.iterdir())) == 2


def test_crash_before_the_last_rename_keeps_the_checkpoint_before(
    tmp_path: Path, snapshot: Snapshot, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint.save(tmp_path, snapshot, config)

    def crash(self: Path, target: Path) -> Path:
        if target.name == checkpoint.FILE_NAME:
            raise KeyboardInterrupt
        return Path(self.rename(target))

    monkeypatch.setattr(Path, "replace", crash)
    with pytest.raises(KeyboardInterrupt):
        checkpoint.save(tmp_path, Snapshot({"a": torch.ones(1)}, {"episodes": 200}), config)
    assert checkpoint.load(tmp_path).snapshot.state["episodes"] == 100


def test_missing(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"nowhere: no such file; give a checkpoint's folder"):
        checkpoint.load(tmp_path / "nowhere")


@pytest.mark.parametrize("content", [b"", b'{"format": "metas', b"PK\x03\x04\xff", b"[1]", b"{}"])
def test_foreign_or_truncated_json(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "checkpoint.json").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"checkpoint\.json: .*not a checkpoint of"):
        checkpoint.load(tmp_path)


def test_a_pickle_is_never_loaded(tmp_path: Path, snapshot: Snapshot, config: Config) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[object, ...]:
            return (Path.touch, (tmp_path / "exploded",))

    file = tmp_path / "model.pt"
    file.write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(CheckpointError, match="not a checkpoint"):
        checkpoint.load(file)
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize("keep", [0, 20, -1])
def test_truncated_tensors(tmp_path: Path, snapshot: Snapshot, config: Config, keep: int) -> None:
    checkpoint.save(tmp_path, snapshot, config)
    (file,) = tmp_path.glob("*.safetensors")
    file.write_bytes(file.read_bytes()[:keep])
    with pytest.raises(CheckpointError, match=f"{file.name}: truncated or changed"):
        checkpoint.load(tmp_path)


def test_missing_tensors(tmp_path: Path, snapshot: Snapshot, config: Config) -> None:
    checkpoint.save(tmp_path, snapshot, config)
    (file,) = tmp_path.glob("*.safetensors")
    file.unlink()
    with pytest.raises(CheckpointError, match=f"its tensor file {file.name} is missing"):
        checkpoint.load(tmp_path)


def test_missing_field(tmp_path: Path, snapshot: Snapshot, config: Config) -> None:
    checkpoint.save(tmp_path, snapshot, config)
    file = tmp_path / "checkpoint.json"
    description = json.loads(file.read_text())
    del description["config"]["algorithm"]
    file.write_text(json.dumps(description))
    with pytest.raises(CheckpointError, match=r"a field is missing or wrong \(.*'algorithm'"):
        checkpoint.load(tmp_path)


def test_another_configuration(tmp_path: Path, snapshot: Snapshot, config: Config) -> None:
    checkpoint.save(tmp_path, snapshot, config)
    other = replace(config, hyper={**config.hyper, "inner_lr": 0.4}, seed=8)
    with pytest.raises(UserError) as caught:
        checkpoint.load(tmp_path, other)
    assert not isinstance(caught.value, CheckpointError)
    assert str(caught.value).endswith(
        "belongs to another configuration: "
        "hyper/inner_lr is 0.01, asked for 0.4; seed is 7, asked for 8"
    )
    many = replace(other, algorithm="anil", network="conv4", episodes=1)
    with pytest.raises(UserError, match=r"algorithm is 'maml', .*; and 2 more$"):
        checkpoint.load(tmp_path, many)

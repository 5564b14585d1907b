"""`metasweep train` and `evaluate`: what they refuse, and checkpoints that are none."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
import yaml
from filelock import FileLock

from search import checkpoint
from search.snapshot import Snapshot
from tests.cli import call
from tests.search.small_runs import small_config
from tests.servers import empty_store
from tests.test_command_line import URI, assert_refused


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    """An MLflow store with nothing in it."""
    return f"sqlite:///{empty_store(tmp_path_factory.mktemp('store') / 'mlflow.db')}"


class TestCheckpoint:
    @pytest.fixture
    def saved(self, tmp_path: Path) -> Path:
        """A checkpoint of a configuration that was never trained."""
        folder = tmp_path / "saved"
        state = {"episodes": 0, "train_seconds": 0.0, "history": [], "formulation": {}}
        checkpoint.save(folder, Snapshot({"rng": torch.get_rng_state()}, state), small_config())
        return folder

    def refused(self, path: Path, *texts: str) -> None:
        assert_refused(
            call("evaluate", str(path), folder=path.parent), f"checkpoint {path}", *texts
        )

    def test_missing(self, tmp_path: Path) -> None:
        self.refused(tmp_path / "none", "no such file", "give a checkpoint's folder")

    def test_truncated(self, saved: Path) -> None:
        tensors = next(saved.glob("*.safetensors"))
        tensors.write_bytes(tensors.read_bytes()[:-10])
        self.refused(saved, tensors.name, "truncated or changed")

    def test_truncated_description(self, saved: Path) -> None:
        description = saved / "checkpoint.json"
        description.write_text(description.read_text()[:100])
        self.refused(saved, "truncated, or not a checkpoint")

    def test_of_another_program(self, tmp_path: Path) -> None:
        file = tmp_path / "checkpoint.json"
        file.write_text(json.dumps({"epoch": 3}))
        self.refused(file, "not a checkpoint of this version of metasweep")

    def test_is_not_trained_by_two_at_once(self, tmp_path: Path, store: str) -> None:
        config = small_config()
        (tmp_path / "mine.yaml").write_text(yaml.safe_dump(config.to_dict()))
        arguments = ["train", "mine.yaml", "--seeds=1"]
        assert call(*arguments, folder=tmp_path, environment={URI: store}).code == 0
        [folder] = (tmp_path / "metasweep-store" / "train").iterdir()
        with FileLock(folder / "train.lock"):
            other = call(*arguments, folder=tmp_path, environment={URI: store})
        assert other.code == 2
        assert f"is being trained already, by another process, in {folder}" in other.output
        assert call(*arguments, folder=tmp_path, environment={URI: store}).code == 0

    def test_of_another_configuration(self, saved: Path, tmp_path: Path, store: str) -> None:
        """As where a user moved a checkpoint into the folder of another training."""
        config = {**small_config().to_dict(), "seed": 5}
        config["problem"]["data_digest"] = "18c1ae0a79fc1fc3"
        (tmp_path / "mine.yaml").write_text(yaml.safe_dump(config))
        arguments = ["train", "mine.yaml", "--seeds=1"]
        trained = call(*arguments, folder=tmp_path, environment={URI: store})
        assert trained.code == 0, trained.output
        [folder] = (tmp_path / "metasweep-store" / "train").iterdir()
        for made in (folder / "checkpoints").iterdir():
            shutil.rmtree(made)
        saved.rename(folder / "checkpoints" / "0001-000009")
        done = call(*arguments, folder=tmp_path, environment={URI: store})
        assert_refused(done, "belongs to another configuration", "seed is 1, asked for 5", code=1)


class TestTrain:
    @pytest.mark.parametrize(
        ("change", "texts"),
        [
            ({"sed": 3}, ["sed: unknown key: did you mean seed?"]),
            ({"seed": "three"}, ["seed: 'three'", "valid integer"]),
            ({"algorithm": "mamml"}, ["algorithm: 'mamml'", "maml?"]),
            ({"hyper": {"inner_rl": 0.1}}, ["hyper.inner_rl", "inner_lr?"]),
            ({"hyper": {"inner_lr": -1.0}}, ["hyper.inner_lr: -1.0", "from 0 to 100"]),
            ({"settings": {"width": 0}}, ["settings.width: 0", "from 1 to"]),
            ({"problem": {"task": "sinusoid", "kind": "regression"}}, ["problem.shots: missing"]),
            ({"episodes": 0}, ["episodes: 0", "at least 1"]),
            ({"device": "tpu"}, ["device: 'tpu'", "cuda"]),
        ],
    )
    def test_wrong_field_is_named(
        self, change: dict[str, object], texts: list[str], tmp_path: Path
    ) -> None:
        config = small_config().to_dict() | change
        (tmp_path / "mine.yaml").write_text(yaml.safe_dump(config))
        done = call("train", "mine.yaml", folder=tmp_path)
        assert_refused(done, "mine.yaml: ", *texts)
        assert [file.name for file in tmp_path.iterdir()] == ["mine.yaml"]

    def test_missing_file_is_named(self, tmp_path: Path) -> None:
        done = call("train", "best.yaml", folder=tmp_path)
        assert_refused(done, "best.yaml: no such file", "metasweep export")

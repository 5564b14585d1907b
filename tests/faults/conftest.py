"""A checkpoint that is whole, for tests to make hostile."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from episodes import load
from search import checkpoint
from search.config import Config
from search.training import meta_train
from tests.search.small_runs import small_config


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Config]:
    folder = tmp_path_factory.mktemp("trained")
    config = small_config("maml", "regression")
    distribution = load("sinusoid", shots=5, query_shots=5)
    config = replace(config, problem=replace(config.problem, data_digest=distribution.digest))
    *_, last = meta_train(config, distribution)
    checkpoint.save(folder, last.snapshot, config)
    return folder, config


@pytest.fixture
def whole(trained: tuple[Path, Config], tmp_path: Path) -> Path:
    """A copy of a checkpoint that `metasweep evaluate` accepts."""
    folder = tmp_path / "checkpoint"
    shutil.copytree(trained[0], folder)
    return folder

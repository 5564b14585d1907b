"""A user's own file, from a specification to a trained configuration and back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from search.distribution import distribution_of
from tests.cli import call
from tests.episodes.arrays_files import curves, flowers, write_csv, write_npz

SPEC: dict[str, Any] = {
    "name": "mine",
    "algorithms": ["maml"],
    "networks": ["mlp"],
    "budget": {"trials": 4, "episodes": 90},
}
CONFIG: dict[str, Any] = {
    "algorithm": "maml",
    "network": "mlp",
    "episodes": 40,
    "hyper": {"inner_lr": 0.001, "meta_batch_size": 4},
    "settings": {"width": 8, "depth": 1},
}
COUNTS = {"rung_episodes": 4, "ranking_episodes": 6, "test_episodes": 6}


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("METASWEEP_CACHE", str(tmp_path / "cache"))


def dry_run(folder: Path, problem: dict[str, Any], *arguments: str) -> Any:
    (folder / "mine.yaml").write_text(yaml.safe_dump(SPEC | {"problem": problem}))
    return call("search", "mine.yaml", "--dry-run", *arguments, folder=folder)


def test_a_relative_path_starts_at_the_current_folder_and_is_absolute_from_then_on(
    tmp_path: Path,
) -> None:
    write_csv(tmp_path / "my.csv", curves())
    options = {"file": "my.csv", "task": "unit", "target": "y"}
    problem = {"task": "arrays", "shots": 5, "query_shots": 5, "options": options}
    done = dry_run(tmp_path, problem)
    assert done.code == 0, done.output
    assert f"file: {tmp_path / 'my.csv'}" in done.output
    assert "# problem arrays-5shot, hash " in done.output
    missing = dry_run(tmp_path, problem, "--set=problem.options.file=other.csv")
    assert missing.code == 2
    assert f"options.file: {tmp_path / 'other.csv'}: no such file" in missing.output


def test_the_kind_of_problem_is_an_option(tmp_path: Path) -> None:
    write_npz(tmp_path / "my.npz", flowers())
    options = {"file": "my.npz", "kind": "classification", "target": "kind"}
    problem = {"task": "arrays", "shots": 4, "query_shots": 4, "ways": 2, "options": options}
    done = dry_run(tmp_path, problem, "--set=problem.options.test_share=0.3")
    assert done.code == 0, done.output
    assert "# problem arrays-2way-4shot, hash " in done.output
    wrong = dry_run(tmp_path, problem, "--set=problem.options.kind=regression")
    assert wrong.code == 2
    assert "problem.ways: 2: arrays has no classes; leave it out" in wrong.output


def test_a_configuration_trains_and_its_checkpoint_finds_the_file_again(tmp_path: Path) -> None:
    write_npz(tmp_path / "my.npz", curves())
    options = {"file": "my.npz", "task": "unit", "target": "y"}
    problem = {"task": "arrays", "kind": "regression", "shots": 5, "query_shots": 5}
    content = CONFIG | {"problem": problem | COUNTS | {"options": options}}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(content))
    done = call("train", "mine.yaml", "--seeds=1", folder=tmp_path)
    assert done.code == 0, done.output
    checkpoint = done.output.split("checkpoint ")[1].split()[0]
    judged = call("evaluate", checkpoint, folder=tmp_path)
    assert judged.code == 0, judged.output
    write_npz(tmp_path / "my.npz", curves(seed=1))
    distribution_of.cache_clear()  # as in a process of its own
    changed = call("evaluate", checkpoint, folder=tmp_path)
    assert changed.code == 2
    assert "the data found here are others" in changed.output

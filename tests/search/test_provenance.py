from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from search import provenance


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=tester", "-c", "user.email=tester@example.org"]
    command = ["git", "-C", str(folder), *identity, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The module, as if it lay in a repository of its own, not yet committed."""
    git(tmp_path, "init")
    file = tmp_path / "provenance.py"
    file.write_text("one = 1\n")
    monkeypatch.setattr(provenance, "__file__", str(file))
    provenance.git_commit.cache_clear()
    return file


@pytest.fixture(autouse=True)
def _forget_the_commit() -> Iterator[None]:
    yield
    provenance.git_commit.cache_clear()


def test_a_copy_inside_somebody_elses_repository_has_no_commit(source: Path) -> None:
    (source.parent / "theirs.txt").write_text("theirs")
    git(source.parent, "add", "theirs.txt")
    git(source.parent, "commit", "-m", "theirs")
    assert provenance.git_commit() is None


def test_the_commit_and_whether_the_tree_was_changed(source: Path) -> None:
    git(source.parent, "add", ".")
    git(source.parent, "commit", "-m", "ours")
    git(source.parent, "tag", "v1")
    commit = git(source.parent, "rev-parse", "HEAD")
    assert provenance.git_commit() == commit
    source.write_text("one = 2\n")
    assert provenance.git_commit() == commit
    provenance.git_commit.cache_clear()
    assert provenance.git_commit() == f"{commit}-dirty"


def test_packed_code_says_which_commit_it_is_of(source: Path) -> None:
    git(source.parent, "add", ".")
    git(source.parent, "commit", "-m", "theirs, with our files in it")
    (source.parent / provenance.COMMIT_FILE).write_text("0123abc-dirty\n")
    assert provenance.git_commit() == "0123abc-dirty"


def test_versions_and_hardware() -> None:
    found = provenance.versions()
    assert {"python", "torch", "mlflow", "optuna"} <= found.keys()
    assert "cores" in provenance.hardware()

"""What a job does first: its versions are compared, and its stores outlive its folder."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from search.errors import UserError
from search.submitted import STORAGE, TRACKING, VERSIONS, check_versions, is_relative, set_stores
from search.versions import versions_here
from tests.cli import run


def test_versions_that_differ_are_named_before_anything_runs(tmp_path: Path) -> None:
    here = versions_here()
    theirs = here | {"python": "3.99.0", "ray": "2.0.0", "torch": "1.13.1+cu117"}
    sent = {VERSIONS: json.dumps(theirs)}
    done = run("search", "sinusoid", folder=tmp_path, environment=sent)
    assert done.code == 2
    lines = done.output.splitlines()
    assert lines[0].startswith("error versions on the cluster (there) and on the machine that")
    for name in ("python", "ray", "torch"):
        assert f"  {name} is {here[name]} there and {theirs[name]} here" in lines
    assert "Install the same on both" in lines[-1]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("change", [{}, {"metasweep": "9.9"}, {"torch": None}])
def test_versions_that_fit_are_accepted(change: dict[str, str | None]) -> None:
    """metasweep's own code is the submitter's, and a machine may submit without torch."""
    sent = {name: value for name, value in (versions_here() | change).items() if value}
    check_versions(json.dumps(sent))


def test_patch_versions_of_python_and_builds_of_torch_do_not_matter() -> None:
    here = versions_here()
    python = ".".join([*here["python"].split(".")[:2], "99"])
    torch = ".".join([*here["torch"].split(".")[:2], "99+cu999"])
    check_versions(json.dumps(here | {"python": python, "torch": torch}))


class TestStores:
    @pytest.fixture(autouse=True)
    def unset(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in (STORAGE, TRACKING):
            monkeypatch.setenv(name, "")  # So that what is set here is taken back afterwards.

    def test_lie_in_the_home_folder_unless_the_cluster_says_otherwise(self) -> None:
        set_stores(["search", "spec.yaml"])
        assert os.environ[STORAGE] == str(Path("~/metasweep-store").expanduser())
        assert os.environ[TRACKING] == f"sqlite:///{os.environ[STORAGE]}/mlflow.db"

    def test_are_the_clusters_own(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv(STORAGE, "/shared/store")
        monkeypatch.setenv(TRACKING, "http://head:5000")
        set_stores(["search", "spec.yaml"])
        assert (os.environ[STORAGE], os.environ[TRACKING]) == ("/shared/store", "http://head:5000")

    def test_search_that_goes_on_keeps_its_tracking_store(self) -> None:
        set_stores(["resume", "mine"])
        assert os.environ[TRACKING] == ""

    @pytest.mark.parametrize(
        ("name", "value"), [(STORAGE, "store"), (TRACKING, "sqlite:///mlflow.db")]
    )
    def test_relative_ones_would_be_lost_with_the_job(
        self, name: str, value: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv(name, value)
        with pytest.raises(UserError, match=f"{name}: .*{value.split('/')[-1]}: must be an abs"):
            set_stores(["search", "spec.yaml"])


@pytest.mark.parametrize(
    ("uri", "relative"),
    [
        ("sqlite:///mlflow.db", True),
        ("mlruns", True),
        ("sqlite:////data/mlflow.db", False),
        ("/data/mlruns", False),
        ("http://head:5000", False),
        ("postgresql://head/optuna", False),
        ("databricks", False),
    ],
)
def test_relative_addresses_are_told(uri: str, relative: bool) -> None:
    assert is_relative(uri) is relative

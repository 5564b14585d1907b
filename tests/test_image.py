"""deploy/Dockerfile: holds what a pod needs, and only that. It is read here, not built."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from packaging.version import Version

from tests.manifests import load, pods

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "deploy"
DOCKERFILE = (DEPLOY / "Dockerfile").read_text()
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def test_it_copies_every_package() -> None:
    copied = {
        path
        for line in re.findall(r"(?m)^COPY (?!--from)(.*)$", DOCKERFILE)
        for path in line.split()[:-1]
    }
    packages = {name.partition(".")[0] for name in PYPROJECT["tool"]["setuptools"]["packages"]}
    files = {"pyproject.toml", PYPROJECT["project"]["readme"], "LICENSE"}
    assert copied == packages | files | {"deploy/constraints.txt"}
    assert all((ROOT / path).exists() for path in copied)
    ignored = (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()
    assert {line[1:] for line in ignored if line.startswith("!")} == copied


def test_pods_run_as_its_user() -> None:
    """They demand another than root, and Kubernetes knows one only by its number."""
    [user] = re.findall(r"(?m)^USER (\d+):\d+$", DOCKERFILE)
    for pod in pods(load(DEPLOY / "kubernetes")):
        if pod.containers[0]["image"].startswith("metasweep:"):
            assert pod.spec["securityContext"]["runAsUser"] == int(user) > 0


def test_it_has_the_python_of_the_other_clusters() -> None:
    [python] = re.findall(r"(?m)^ARG PYTHON=(.*)$", DOCKERFILE)
    assert f"uv venv --python {python} " in (ROOT / "cluster.yaml").read_text()
    assert Version(python) >= Version(PYPROJECT["project"]["requires-python"].removeprefix(">="))

"""The house: which folder may import what, and how large a file may grow."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from search.search_folder import SearchFolder, SearchRecord
from tests.servers import empty_store

ROOT = Path(__file__).parents[1]
LEARNING = ("algorithms", "networks", "episodes")
PACKAGES = (*LEARNING, "spaces", "search")
LONGEST = 400

SOURCES = [
    path.relative_to(ROOT).as_posix()
    for package in PACKAGES
    for path in sorted((ROOT / package).rglob("*.py"))
]


def imported(source: str) -> Iterator[str]:
    """Yield what a file imports anywhere in it, as top-level names."""
    for node in ast.walk(ast.parse((ROOT / source).read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{source}: relative import"
            yield str(node.module).partition(".")[0]


def forbidden(source: str) -> set[str]:
    folder, _, file = source.rpartition("/")
    package = folder.partition("/")[0]
    names = set()
    if package in LEARNING:
        names |= {"ray", "optuna", "mlflow", "pandas", "search", "spaces"}
    if package == "spaces":
        names |= {"ray", "optuna", "mlflow", "pandas", "torch", "search"}
    if package == "episodes":
        names |= {"algorithms", "networks"}
    if package == "networks":
        names |= {"algorithms", "episodes"}
    if not (folder == "search" and file.startswith("tracking")):
        names.add("mlflow")
    if not (folder == "search" and file.startswith(("driver.", "trainable.", "ray_"))):
        names.add("ray")
    return names


@pytest.mark.parametrize("source", SOURCES)
def test_arrows_point_one_way(source: str) -> None:
    assert not set(imported(source)) & forbidden(source)


@pytest.mark.parametrize("source", SOURCES)
def test_a_file_does_one_thing(source: str) -> None:
    assert len((ROOT / source).read_text().splitlines()) <= LONGEST


def loaded_after(code: str, names: tuple[str, ...]) -> list[str]:
    """Run code in a fresh interpreter; return which of these modules it loaded."""
    report = f"\nimport sys; print(*[name for name in {names} if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code + report], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return done.stdout.split()


def test_that_a_search_has_ended_is_told_without_loading_what_runs_one(tmp_path: Path) -> None:
    record = SearchRecord({}, run_id="", tracking_uri="", data=None, state="COMPLETE")
    SearchFolder(tmp_path, "done").write(record)
    code = f"""
import sys
from search.cli import main

sys.argv = ["metasweep", "resume", "done", "--storage", {str(tmp_path)!r}]
try:
    main()
except SystemExit as end:
    assert end.code == 2
"""
    assert loaded_after(code, ("search.cli", "torch", "ray", "mlflow")) == ["search.cli"]


def test_a_leaderboard_of_a_database_is_made_without_mlflow(tmp_path: Path) -> None:
    empty_store(tmp_path / "mlflow.db")
    code = f"""
from search.cli import main
from search.leaderboard import standing
from search.tracking_reader import Reader
assert Reader("sqlite:///{tmp_path / "mlflow.db"}").find_search("any") is None
"""
    assert loaded_after(code, ("pandas", "torch", "ray", "mlflow")) == ["pandas"]


def test_learning_loads_neither_ray_nor_optuna_nor_mlflow() -> None:
    modules = [
        source.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        for source in SOURCES
        if source.partition("/")[0] in LEARNING
    ]
    code = "import " + ", ".join(modules)
    names = ("ray", "optuna", "mlflow", "pandas", "search", "spaces")
    assert loaded_after(code, names) == []


def test_importing_search_loads_nothing_heavy() -> None:
    assert loaded_after("import search", ("torch", "ray", "optuna", "mlflow", "pandas")) == []


def test_training_does_not_load_the_compiler_of_torch() -> None:
    code = """
from episodes import load
from search.training import meta_train
from tests.search.small_runs import small_config
for _ in meta_train(small_config("maml", "regression"), load("sinusoid", shots=5, query_shots=5)):
    pass
"""
    assert loaded_after(code, ("torch._dynamo", "torch._inductor", "sympy")) == []


def test_every_package_is_installed() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    folders = {Path(source).parent.as_posix().replace("/", ".") for source in SOURCES}
    assert set(project["tool"]["setuptools"]["packages"]) == folders
    for folder in folders:
        assert (ROOT / folder.replace(".", "/") / "__init__.py").is_file()

"""The folder of a job: what Python finds in it, with nothing else of ours on its path."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.metadata import distributions, version
from pathlib import Path

import yaml

from search.house import HOME, PACKAGES
from search.own_code import OwnCode
from search.packing import pack
from search.provenance import git_commit
from tests.extending import EXTEND, install

REPORT = """
import json, sys
from importlib.metadata import entry_points, version
import algorithms, my_learners, search.packing, spaces
from search.provenance import git_commit
print(json.dumps({
    "files": [algorithms.__file__, my_learners.__file__, search.packing.__file__],
    "version": version("metasweep"),
    "commit": git_commit(),
    "offers": [[e.group, e.name, e.value] for e in entry_points(group="metasweep.networks")],
}))
"""


def contents(folder: Path) -> dict[str, bytes]:
    return {
        file.relative_to(folder).as_posix(): file.read_bytes()
        for file in folder.rglob("*")
        if file.is_file()
    }


def own(tmp_path: Path) -> OwnCode:
    lib = tmp_path / "lib"
    groups = {
        "metasweep.networks": {"waves": "my_learners:waves"},
        "console_scripts": {"waves": "my_learners:main"},
    }
    install(lib, "my-learners", groups)
    [found] = distributions(path=[str(lib)])
    return OwnCode({"my_learners.py": EXTEND / "my_learners.py"}, [found], [])


def test_python_finds_all_of_it_there(tmp_path: Path) -> None:
    folder = tmp_path / "job"
    folder.mkdir()
    spec = {"name": "mine", "space": {"maml/inner_lr": 0.1}}
    packed = pack(folder, spec, own(tmp_path))

    done = subprocess.run(
        [sys.executable, "-c", REPORT],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        check=True,
    )
    found = json.loads(done.stdout)
    assert all(file.startswith(f"{folder}/") for file in found["files"])
    assert found["version"] == version("metasweep")
    assert found["commit"] == git_commit()
    assert found["offers"] == [["metasweep.networks", "waves", "my_learners:waves"]]
    assert yaml.safe_load((folder / "spec.yaml").read_text()) == spec
    held = contents(folder)
    assert packed.files == len(held)
    assert packed.size == sum(map(len, held.values()))


def test_all_of_metasweep_is_in_it_and_nothing_else_is(tmp_path: Path) -> None:
    folder = tmp_path / "job"
    folder.mkdir()
    pack(folder, None, None)
    held = contents(folder)
    assert {name.partition("/")[0] for name in held} == {
        *PACKAGES,
        f"metasweep-{version('metasweep')}.dist-info",
    }
    assert held["spaces/sinusoid.yaml"] == (HOME / "spaces" / "sinusoid.yaml").read_bytes()
    kernel = "algorithms/small_products.cpp"
    assert held[kernel] == (HOME / kernel).read_bytes()
    assert not [name for name in held if name.endswith(".pyc") or "/." in name]


def test_equal_content_makes_equal_folders(tmp_path: Path) -> None:
    code = own(tmp_path)
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        pack(tmp_path / name, {"name": "mine"}, code)
    assert contents(tmp_path / "first") == contents(tmp_path / "second")

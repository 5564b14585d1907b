"""Which files of a user's a cluster is sent, and which not."""

from __future__ import annotations

import importlib
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from search import own_code as module
from search.errors import UserError
from search.own_code import own_code, sources
from search.spec import Spec, parse_spec
from tests.extending import EXTEND, fresh_process, install

LEARNERS = (EXTEND / "my_learners.py").read_text()


def spec_with(network: str) -> Spec:
    return parse_spec(
        {
            "name": "mine",
            "problem": {"task": "sinusoid", "shots": 3, "query_shots": 4},
            "algorithms": ["maml"],
            "networks": [network],
            "budget": {"trials": 1, "episodes": 10},
        }
    )


def write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    importlib.invalidate_caches()


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The current folder of a process that has met no extension; its modules are forgotten."""
    monkeypatch.chdir(tmp_path)
    known = set(sys.modules)
    with fresh_process():
        yield tmp_path
        for name in set(sys.modules) - known:
            if name.partition(".")[0] in ("lab", "nets"):
                del sys.modules[name]


class TestSources:
    def test_imports_are_followed_within_the_folders(self, tmp_path: Path) -> None:
        one, other = tmp_path / "one", tmp_path / "other"
        write(
            one,
            {
                "nets.py": "import json, torch, search.spec\n"
                "def late():\n    from shapes import circle\n",
                "shapes.py": "import colours.plain\n",
                "unrelated.py": "",
                "torch/notes.txt": "a folder of that name, not a package",
                "search/__init__.py": "",
            },
        )
        write(other, {"colours/plain.py": "", "colours/data.csv": "", "shapes.py": "raise"})
        found = sources(["nets"], [one, other])
        assert found == {
            "nets.py": one / "nets.py",
            "shapes.py": one / "shapes.py",
            "colours/plain.py": other / "colours" / "plain.py",
        }

    def test_packages_are_whole_but_for_what_is_hidden_and_cached(self, tmp_path: Path) -> None:
        kept = {
            "lab/__init__.py": "",
            "lab/nets/__init__.py": "from ..tools import x\nfrom . import sizes\nimport beside\n",
            "lab/nets/sizes.py": "def broken(:",
            "lab/nets/sizes.json": "{}",
            "lab/tools.py": "",
            "beside.py": "from lab import nets\n",
        }
        left_out = {
            "lab/.git/config": "",
            "lab/.env": "TOKEN=secret",
            "lab/nets/__pycache__/sizes.cpython-311.pyc": "",
            "lab/old.pyc": "",
        }
        write(tmp_path, kept | left_out)
        assert set(sources(["lab.nets.sizes"], [tmp_path])) == set(kept)

    def test_relative_imports_lead_out_of_a_folder_without_init(self, tmp_path: Path) -> None:
        write(
            tmp_path,
            {
                "lab/first.py": "from . import second\nfrom .third import x\n",
                "lab/second.py": "",
                "lab/third.py": "",
                "lab/results.csv": "",
            },
        )
        assert set(sources(["lab.first"], [tmp_path])) == {
            "lab/first.py",
            "lab/second.py",
            "lab/third.py",
        }


class TestOwnCode:
    def test_module_of_a_reference_is_packed(self, here: Path) -> None:
        write(here, {"nets.py": f"{LEARNERS}\nimport helpers\n", "helpers.py": ""})
        own = own_code(spec_with("nets:waves"))
        assert own.files == {"nets.py": here / "nets.py", "helpers.py": here / "helpers.py"}
        assert own.distributions == own.installed == []

    def test_nothing_is_packed_for_names_of_metasweeps_own(self, here: Path) -> None:
        write(here, {"mlp.py": "", "maml.py": "", "sinusoid.py": ""})
        own = own_code(spec_with("mlp"))
        assert (own.files, own.distributions, own.installed) == ({}, [], [])

    def test_package_with_an_entry_point_on_the_path_is_packed(
        self, here: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        lib = here / "lib"
        write(lib, {"my_learners.py": LEARNERS})
        install(lib, "my-learners", {"metasweep.networks": {"waves": "my_learners:waves"}})
        monkeypatch.syspath_prepend(str(lib))
        own = own_code(spec_with("waves"))
        assert own.files == {"my_learners.py": lib / "my_learners.py"}
        assert [found.name for found in own.distributions] == ["my-learners"]

    def test_package_installed_with_python_is_only_named(
        self, here: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        site = here / "site-packages"
        write(site, {"my_learners.py": LEARNERS})
        install(site, "my-learners", {"metasweep.networks": {"waves": "my_learners:waves"}})
        monkeypatch.syspath_prepend(str(site))
        monkeypatch.setattr(module, "python_folders", lambda: {str(site)})
        own = own_code(spec_with("waves"))
        assert own.files == {}
        assert own.distributions == []
        assert own.installed == ["waves: the package my-learners is installed on this machine"]

    def test_package_with_compiled_code_is_only_named(self, here: Path) -> None:
        write(here, {"lab/__init__.py": LEARNERS, "lab/fast.cpython-311-x86_64-linux-gnu.so": ""})
        own = own_code(spec_with("lab:waves"))
        assert own.files == {}
        assert own.installed == ["lab:waves: the package lab holds compiled code"]

    def test_more_than_code_is_refused_and_the_largest_files_named(self, here: Path) -> None:
        write(here, {"lab/__init__.py": LEARNERS, "lab/small.json": "{}"})
        (here / "lab" / "faces.npz").write_bytes(bytes(module.LARGEST))
        with pytest.raises(UserError) as refused:
            own_code(spec_with("lab:waves"))
        first, largest, *_ = str(refused.value).splitlines()
        assert "20.0 MB in 3 files, of which at most 20 MB are packed" in first
        assert largest == f"  20.0 MB  {here / 'lab' / 'faces.npz'}"
        assert "--data" in str(refused.value)
        shutil.rmtree(here / "lab")

"""README: every command in it runs, every path in it exists, and it stays short."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import yaml

from search.spec import parse_spec
from tests.cli import SMALL, call, free_port, page, run, started, wait_until

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
# Of an option that is given twice the last one counts.
SMALL_BUDGET = ("--trials=2", "--episodes=150", "--time-limit=15m", *SMALL)


def blocks(language: str) -> list[str]:
    """Return the fenced blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def commands(program: str) -> list[list[str]]:
    """Return what follows a program's name, line by line, in the bash blocks."""
    lines = [line for block in blocks("bash") for line in block.splitlines()]
    words = [shlex.split(line, comments=True) for line in lines]
    return [arguments for name, *arguments in filter(None, words) if name == program]


def test_make_targets_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = re.findall(r"^([a-z]+):", makefile, re.MULTILINE)
    asked = {target for arguments in commands("make") for target in arguments}
    assert {"search", "test"} <= asked
    assert asked <= set(targets)


@pytest.mark.timeout(1800)
def test_commands_work_one_after_the_other(data_folder: Path, tmp_path: Path) -> None:
    shown = commands("metasweep")
    assert {"search", "leaderboard", "export", "train", "ui"} <= {name for name, *_ in shown}
    environment = {"METASWEEP_DATA": str(data_folder)}
    for name, *arguments in shown:
        if name == "ui":
            check_ui(arguments, tmp_path)
            continue
        if name == "search":
            done = run(name, *arguments, *SMALL_BUDGET, folder=tmp_path, environment=environment)
        else:
            done = call(name, *arguments, folder=tmp_path, environment=environment)
        assert done.code == 0, f"metasweep {shlex.join([name, *arguments])}\n{done.output}"
        for option in ("-o", "--output"):
            if option in arguments:
                assert (tmp_path / arguments[arguments.index(option) + 1]).stat().st_size > 0


def check_ui(arguments: list[str], folder: Path) -> None:
    port = free_port()
    with started("ui", *arguments, f"--port={port}", folder=folder):
        url = f"http://127.0.0.1:{port}"
        wait_until(lambda: page(url) is not None, 300, f"an answer from {url}")


def test_specifications_are_valid() -> None:
    for block in blocks("yaml"):
        parse_spec(yaml.safe_load(block))


def test_links_lead_somewhere() -> None:
    linked = re.findall(r"\]\((?!https?:)([^)#]+)", README)
    assert linked
    assert [path for path in linked if not (ROOT / path).exists()] == []


def test_table_says_where_every_package_lives() -> None:
    _, _, table = README.partition("## Where everything lives")
    first_cells = re.findall(r"^\| \[[^]]+\]\(([^)]+)\) \|", table, re.MULTILINE)
    folders = {"algorithms/", "networks/", "episodes/", "spaces/", "search/", "tests/"}
    assert folders <= set(first_cells)


def test_is_short() -> None:
    assert len(README.splitlines()) < 150

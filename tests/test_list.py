"""`metasweep list` names every part, and says what the recipes are made of."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest
from rich.console import Console

from algorithms import ALGORITHMS
from episodes import TASKS
from networks import NETWORKS
from search.commands.list import WIDE, recipes
from search.config_file import ready_made_configurations
from search.spec import ready_made
from tests.cli import INSTALLED, run


def test_list_names_everything(tmp_path: Path) -> None:
    done = run("list", folder=tmp_path, command=INSTALLED)
    assert done.code == 0
    parts, heading, table = done.output.partition("what they compose")
    listed = re.findall(r"^  (\S+) +\S", parts, re.MULTILINE)
    searches = [name for name, _ in ready_made()]
    configurations = [name for name, _ in ready_made_configurations()]
    assert listed == [*ALGORITHMS, *NETWORKS, *TASKS, *searches, *configurations]
    assert {"omniglot-5way-1shot", "sinusoid", "lecture"} <= set(listed)
    assert heading
    composed = [name for name, entry in ALGORITHMS.items() if entry.recipe is not None]
    first = re.findall(r"^  (\S+) +\S", table, re.MULTILINE)
    assert [name for name in first if name in ALGORITHMS] == composed
    assert "layer_step, learned" in table


@pytest.mark.parametrize("width", [80, 160])
def test_the_table_of_recipes_says_how_each_differs_from_maml(width: int) -> None:
    table = recipes(wide=width >= WIDE)
    file = io.StringIO()
    Console(file=file, width=width).print(table)
    text = " ".join(file.getvalue().split())
    assert "…" not in text
    for word in ("implicit", "kronecker", "prototypes", "context", "per_step", "annealed"):
        assert word in text

"""docs/tasks.md: its code and commands run, its specification works, its tables are complete."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from algorithms import ALGORITHMS
from episodes import TASKS, load
from search.errors import UserError
from search.spec import parse_spec
from search.spec_source import ready_made_names
from spaces.algorithms import ALGORITHM_SPACES
from tests.cli import call
from tests.command_lines import bash_blocks, command_lines
from tests.drawn import draw_masks, write_ciphers, write_shapes

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
TEXT = (DOCS / "tasks.md").read_text()
PICTURES = re.findall(r"!\[[^]]*\]\((pictures/[^)]+)\)", TEXT)


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)


def pixels(path: Path) -> np.ndarray:
    """Return the brightness of a picture, from 0 to 255."""
    with Image.open(path) as image:
        return np.asarray(image.convert("L"), dtype=float)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("METASWEEP_CACHE", str(tmp_path / "cache"))
    return tmp_path


def test_code_runs_and_the_specification_reads_what_it_wrote(folder: Path) -> None:
    names: dict[str, Any] = {}
    for block in blocks("python"):
        exec(block, names)
    assert names["x"].shape == (16, 10, 1)
    assert names["y_query"].shape == (16, 15, 1)
    [specification] = blocks("yaml")
    (folder / "sensors.yaml").write_text(specification)
    done = call("search", "sensors.yaml", "--dry-run", folder=folder)
    assert done.code == 0, done.output
    assert f"file: {folder / 'sensors.csv'}" in done.output


def test_commands_work(data_folder: Path, folder: Path, tmp_path: Path) -> None:
    write_shapes(folder / "shapes")
    write_ciphers(folder / "ciphers")
    exec(blocks("python")[0], {})
    shown = command_lines(bash_blocks(TEXT))
    assert len(shown) == 21
    for arguments in shown:
        dry = ["--dry-run"] if arguments[0] == "search" and "--dry-run" not in arguments else []
        environment = {"METASWEEP_DATA": str(data_folder)}
        done = call(*arguments, *dry, folder=tmp_path, environment=environment)
        assert done.code == 0, f"metasweep {shlex.join(arguments)}\n{done.output}"
        if arguments[0] == "episode":
            with Image.open(tmp_path / arguments[-1]) as drawn:
                assert drawn.format == "PNG"
    draw_masks(tmp_path / "docs" / "pictures" / "masks.png")
    for picture in PICTURES:
        now, kept = pixels(tmp_path / "docs" / picture), pixels(DOCS / picture)
        assert now.shape == kept.shape
        assert np.abs(now - kept).mean() < 1, f"{picture} shows something else"


def test_every_task_whose_pictures_may_be_passed_on_has_a_small_one() -> None:
    photographs = re.findall(
        r"`([\w-]+)`", TEXT.partition("how hard they are: for")[2].split(":")[0]
    )
    imagenets = [name for name in TASKS if name.endswith(("imagenet", "imagenet-subset"))]
    masks = [name for name, task in TASKS.items() if task.kind == "segmentation"]
    subsets = [f"{name}-subset" for name in photographs if f"{name}-subset" in TASKS]
    without = {*photographs, *imagenets, *masks, *subsets}
    assert without < set(TASKS)
    shown = [Path(picture).stem for picture in PICTURES]
    assert sorted(shown) == sorted(["masks", *(name for name in TASKS if name not in without)])
    kept = sorted((DOCS / "pictures").iterdir())
    assert [f"pictures/{path.name}" for path in kept] == sorted(PICTURES)
    assert all(path.stat().st_size < 60_000 for path in kept)


def test_every_task_has_a_row_and_a_section_with_its_options() -> None:
    table, *sections = re.split(r"(?m)^## ", TEXT)
    rows = re.findall(r"(?m)^\| \[`([\w-]+)`\]\(#([\w-]+)\) \|(.*)$", table)
    assert [name for name, _, _ in rows] == list(TASKS)
    listed = [name for _, _, row in rows for name in re.findall(r"`([\w-]+)`", row)]
    assert sorted(listed) == ready_made_names()
    headings = {re.sub(r"[^\w -]", "", text.splitlines()[0]): text for text in sections}
    by_anchor = {heading.lower().replace(" ", "-"): text for heading, text in headings.items()}
    for name, anchor, _ in rows:
        section = by_anchor[anchor]
        options = [option.name for option in TASKS[name].options]
        cells = re.findall(r"(?m)^\| ((?:`\w+`(?:, )?)+) \|", section)
        named = [option for cell in cells for option in re.findall(r"`(\w+)`", cell)]
        assert sorted(named) == sorted(options)
        assert options or "No options." in section


def test_algorithms_of_translation_are_listed_by_their_order() -> None:
    listed = re.search(r"(?s)\*\*Algorithms of first order\*\* (.*?)\. (.*?)\. ", TEXT)
    assert listed is not None
    orders: tuple[set[str], set[str]] = set(), set()
    for name, space in ALGORITHM_SPACES.items():
        if "translation" in space.defaults:
            recipe = ALGORITHMS[name].recipe
            by_recipe = recipe.meta_gradient if recipe else None
            gradient = space.defaults["translation"].get("meta_gradient", by_recipe)
            orders[gradient in ("second_order", "annealed", "implicit")].add(name)
    for text, names in zip(listed.groups(), orders, strict=True):
        assert set(re.findall(r"`([\w-]+)`", text)) == names
    assert "composed" in orders[0]


def test_no_algorithm_is_taken_that_was_not_named() -> None:
    problem = {"task": "translation-tatoeba", "shots": 4, "query_shots": 4}
    budget = {"trials": 2, "episodes": 40}
    with pytest.raises(UserError, match=r"^algorithms: missing"):
        parse_spec(
            {"name": "own", "problem": problem, "networks": ["transformer"], "budget": budget}
        )


def test_what_stands_for_torchmeta_loads(folder: Path, data_folder: Path) -> None:
    exec(blocks("python")[0], {})
    calls = re.findall(r"(?m)^\| .* \| `(load\(.*\))` \|$", TEXT)
    assert len(calls) == 6
    for call_ in calls:
        task = eval(call_, {"load": load, "folder": data_folder})
        episodes = task.sample("train", 0, range(2))
        assert torch.isfinite(episodes.query.inputs).all()


def test_links_lead_somewhere() -> None:
    linked = re.findall(r"\]\((?!https?:|#)([^)#]+)", TEXT)
    assert [path for path in linked if not (ROOT / "docs" / path).exists()] == []

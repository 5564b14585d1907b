"""Ready-made searches: one for every task; those of own data say what they must be told."""

from __future__ import annotations

from pathlib import Path

import pytest

from episodes import TASKS
from search.spec_source import read_source, ready_made_names
from tests.cli import call
from tests.episodes.made_up import encode, image_of
from tests.ready_made import OWN_DATA, assert_runs_dry


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in, with data of a user's own."""
    monkeypatch.setenv("METASWEEP_CACHE", str(tmp_path / "cache"))
    rows = [f"{sensor},{x},{sensor * x}" for sensor in range(10) for x in range(20)]
    (tmp_path / "rows.csv").write_text("\n".join(["sensor,x,reading", *rows]))
    for number in range(25):
        place = tmp_path / "pictures" / f"kind {number}"
        place.mkdir(parents=True)
        for i in range(6):
            (place / f"{i}.png").write_bytes(encode(image_of(10 * number, i, 20, 20)))
    (tmp_path / "pairs").mkdir()
    for first, language in enumerate(("aaa", "bbb", "ccc", "ddd")):
        numbers = range(100 * first, 100 * first + 60)
        lines = [f"Number {n} is here.\t{language} {n}\n" for n in numbers]
        (tmp_path / "pairs" / f"{language}.txt").write_text("".join(lines))
    return tmp_path


def test_every_task_has_a_ready_made_search() -> None:
    searched = {read_source(name)["problem"]["task"] for name in ready_made_names()}
    assert [name for name in TASKS if name not in searched] == []
    needy = {name for name, task in TASKS.items() if any(o.required for o in task.options)}
    assert set(OWN_DATA) == needy


@pytest.mark.parametrize("name", OWN_DATA)
def test_a_search_of_own_data_runs_dry(name: str, folder: Path) -> None:
    # Made-up sentences are too alike for 2,000 symbols.
    changes = {"options__vocabulary": "300"} if name == "translation" else {}
    assert_runs_dry(name, folder, **changes)


@pytest.mark.parametrize(
    ("name", "missing", "flags"),
    [
        ("arrays", "file", "--set problem.options.file=PATH --set 'problem.options.target=["),
        ("image-folder", "folder", "--set problem.options.folder=PATH"),
        ("translation", "test_languages", "--set 'problem.options.test_languages=[NAME,...]'"),
    ],
)
def test_a_search_of_own_data_says_what_to_set(
    name: str, missing: str, flags: str, tmp_path: Path
) -> None:
    done = call("search", name, "--dry-run", folder=tmp_path)
    assert done.code == 2
    assert f"problem.options.{missing}: missing: {name} needs it: " in done.errors
    last = done.errors.splitlines()[-1]
    assert last.startswith("problem.options: write them into the specification, or: --set")
    assert flags in last

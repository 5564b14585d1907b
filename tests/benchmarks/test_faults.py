"""The table of faults counts what came of them, and its exit code tells."""

from __future__ import annotations

import io
import random
import sys
from pathlib import Path

import pytest
from rich.console import Console

from benchmarks import faults
from benchmarks.faults import Row, attempt, exit_code
from tests.faults import hostile
from tests.faults.audit import Audit
from tests.faults.machine import NotAllowedError
from tests.faults.setting import Setting
from tests.faults.table import Fault


def fault(*outcomes: Audit | Exception, postgres: bool = False) -> Fault:
    """A fault that comes out so, time after time."""
    left = list(outcomes)

    def run(setting: Setting) -> Audit:
        outcome = left.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    return Fault(run, postgres=postgres)


def tried(*outcomes: Audit | Exception) -> Row:
    row, one = Row("row"), fault(*outcomes)
    for seed in range(len(outcomes)):
        attempt(row, one, seed, full=False)
    return row


def counts(row: Row) -> tuple[int, ...]:
    return (row.survived, row.tried, row.not_tried, row.lost, row.doubled)


def test_every_try_is_counted() -> None:
    row = tried(Audit(), Audit(lost=2), Audit(doubled=3, wrong=["twice"]), Audit(lost=1))
    assert counts(row) == (1, 4, 0, 3, 3)
    assert row.complaints == ["twice"]
    assert row.seconds > 0


@pytest.mark.parametrize("error", [PermissionError("a bug"), AssertionError("a bug")])
def test_an_error_is_a_try_that_was_not_survived(error: Exception) -> None:
    row = tried(Audit(), error)
    assert counts(row) == (1, 2, 0, 0, 0)
    assert "a bug" in row.complaints[0]


def test_what_the_machine_does_not_allow_is_not_tried() -> None:
    row = tried(NotAllowedError("no mount"))
    assert counts(row) == (0, 0, 1, 0, 0)
    assert row.complaints == ["not to be had here: no mount"]


def test_without_postgresql_its_rows_are_not_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faults, "postgres_binaries", lambda: None)
    row = Row("row")
    attempt(row, fault(Audit(), postgres=True), 0, full=False)
    assert counts(row) == (0, 0, 1, 0, 0)
    attempt(row, fault(Audit()), 0, full=False)
    assert counts(row) == (1, 1, 1, 0, 0)


@pytest.mark.parametrize(
    ("row", "alone", "in_ci"),
    [
        (Row("fine", survived=2, tried=2), 0, 0),
        (Row("died", survived=1, tried=2), 1, 1),
        (Row("lost", survived=2, tried=2, lost=1), 1, 1),
        (Row("doubled", survived=2, tried=2, doubled=1), 1, 1),
        (Row("not tried", not_tried=1), 0, 1),
        (Row("not always tried", survived=1, tried=1, not_tried=1), 0, 1),
    ],
)
def test_the_exit_code_tells(row: Row, alone: int, in_ci: int) -> None:
    rows = [Row("sound", survived=1, tried=1), row]
    assert exit_code(rows, in_ci=False) == alone
    assert exit_code(rows, in_ci=True) == in_ci


@pytest.mark.parametrize(("ci", "code"), [("", 0), ("true", 1)])
def test_the_command_runs_the_rows_that_it_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], ci: str, code: int
) -> None:
    table = {
        "one": fault(Audit(), Audit()),
        "two": fault(NotAllowedError("no mount"), NotAllowedError("no mount")),
        "three": fault(Audit(lost=1), Audit()),
    }
    monkeypatch.setattr(faults, "FAULTS", table)
    monkeypatch.setattr(sys, "argv", ["faults", "--tries", "2", "--only", "one", "two"])
    monkeypatch.setenv("CI", ci)
    with pytest.raises(SystemExit) as end:
        faults.main()
    assert int(end.value.code or 0) == code
    output = capsys.readouterr().out
    assert "one: survived 2 / 2" in output
    assert "three" not in output


def test_the_table_shows_sums() -> None:
    console = Console(width=100, file=io.StringIO(), record=True)
    rows = [
        Row("a", survived=1, tried=2, lost=3, doubled=1, seconds=4.6),
        Row("b", survived=2, tried=2, lost=1),
        Row("c", not_tried=1),
    ]
    console.print(faults.table(rows))
    lines = [line.replace("│", " ").split() for line in console.export_text().splitlines()]
    assert ["a", "1", "/", "2", "3", "1", "5"] in lines
    assert ["c", "not", "tried", "0", "0", "0"] in lines
    assert ["all", "3", "/", "4", "4", "1"] in lines


def test_hostile_input_is_a_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It runs the tests that are there: here, one that passes, then one that does not."""
    assert len(hostile.TESTS) >= 4
    setting = Setting(tmp_path / "work", random.Random(0))
    sound, broken = tmp_path / "test_sound.py", tmp_path / "test_broken.py"
    sound.write_text("def test_it(tmp_path):\n    assert tmp_path.is_dir()\n")
    broken.write_text("def test_it():\n    assert not 'read'\n")
    monkeypatch.setattr(hostile, "TESTS", [sound])
    assert hostile.hostile_input(setting).clean
    monkeypatch.setattr(hostile, "TESTS", [sound, broken])
    found = hostile.hostile_input(setting)
    assert not found.clean
    assert "1 failed, 1 passed" in found.wrong[0]

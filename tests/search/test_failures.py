from __future__ import annotations

import csv
import io
import json
import math
from typing import Any

import pandas as pd
import pytest
from rich.console import Console

from search import failures_format, leaderboard_format
from search.config import Config
from search.errors import FailedError
from search.failures import COLUMNS, by_reason, failed, stopped
from search.leaderboard import standing
from search.run_params import to_params

HALVED = "pruned by successive halving at 100 episodes"
LATE = "time limit reached at 300 episodes"
BROKEN = "ValueError: 3 is not 4"
HOSTILE = "=cmd|' /C calc'!A0\n[red]x[/red] <script>alert(1)</script> [a](http://b) \x1b[2J"


def frame(config: Config, *ends: tuple[int, str, str], **changes: Any) -> pd.DataFrame:
    """Runs as the reader gives them, each of a trial's number, state and reason."""
    rows = [
        {
            "run_id": f"run{i}",
            "kind": "trial",
            "trial": number,
            "state": state,
            "reason": reason,
            "problem_hash": config.problem.hash,
            "algorithm": "maml",
            "network": "mlp",
            "seed": 7,
            "of_run": "",
            "published": False,
            "params": to_params(config),
            "validation_mean": 0.5,
            "validation_ci95_low": 0.4,
            "validation_ci95_high": 0.6,
            "test_mean": 0.5,
            "test_ci95_low": 0.4,
            "test_ci95_high": 0.6,
            "episodes": 900.0,
            "train_seconds": 1.0,
            "peak_memory_mb": 100.0,
            "adaptation_ms": 1.0,
            "validation_baseline": math.nan,
            "test_baseline": math.nan,
            **changes,
        }
        for i, (number, state, reason) in enumerate(ends)
    ]
    return pd.DataFrame(rows)


@pytest.fixture
def mixed(config: Config) -> pd.DataFrame:
    return frame(
        config,
        (5, "PRUNED", "training loss is nan after 120 episodes"),
        (0, "COMPLETE", ""),
        (1, "PRUNED", HALVED),
        (2, "FAIL", BROKEN),
        (3, "PRUNED", LATE),
        (4, "PRUNED", "training loss is nan after 40 episodes"),
        (6, "RUNNING", ""),
        (7, "PRUNED", "out of memory: tried to allocate 20 MiB"),
    )


class TestList:
    def test_holds_what_failed_by_its_own_doing(self, mixed: pd.DataFrame) -> None:
        found = failed(mixed)
        assert tuple(found.columns) == COLUMNS
        assert list(found["number"]) == [2, 4, 5, 7]
        assert list(found["state"]) == ["FAIL", "PRUNED", "PRUNED", "PRUNED"]
        assert found["reason"].iloc[0] == BROKEN
        assert stopped(mixed) == 2

    def test_a_confirmation_follows_its_trial(self, config: Config) -> None:
        again = frame(config, (2, "FAIL", "killed"), kind="confirmation", seed=8)
        found = failed(pd.concat([again, frame(config, (2, "FAIL", BROKEN))]))
        assert list(found["kind"]) == ["trial", "confirmation"]

    def test_of_one_problem(self, mixed: pd.DataFrame, config: Config) -> None:
        other = mixed.assign(problem_hash="f00")
        both = pd.concat([mixed, other.iloc[:1]], ignore_index=True)
        assert len(failed(both)) == 5
        assert len(failed(both, "f0")) == 1
        assert len(failed(both, config.problem.hash)) == 4
        assert stopped(both, "f0") == 0

    def test_reasons_are_counted_apart_from_their_numbers(self, mixed: pd.DataFrame) -> None:
        counts = by_reason(failed(mixed))
        assert counts.to_dict("records")[0] == {
            "count": 2,
            "state": "PRUNED",
            "reason": "training loss is nan after N episodes",
        }
        # Of one kind there is one, whose numbers are told.
        assert sorted(counts["reason"][1:]) == [BROKEN, "out of memory: tried to allocate 20 MiB"]
        assert by_reason(failed(mixed.iloc[:0])).empty


class TestStanding:
    def test_lists_failures_beside_the_ranking(self, mixed: pd.DataFrame) -> None:
        found = standing(mixed, "first")
        assert list(found.ranked["run_id"]) == ["run1"]
        assert (len(found.failed), found.stopped) == (4, 2)
        document = json.loads(leaderboard_format.to_json(found.ranked, found.failed))
        assert [entry["number"] for entry in document["failed"]] == [2, 4, 5, 7]
        assert list(document["failed"][0]) == list(COLUMNS)

    def test_can_do_without_a_ranking(self, mixed: pd.DataFrame) -> None:
        broken = mixed[mixed["state"] != "COMPLETE"]
        with pytest.raises(FailedError, match="see why: metasweep leaderboard first --failed"):
            standing(broken, "first")
        found = standing(broken, "first", ranking_needed=False)
        assert (len(found.ranked), len(found.failed)) == (0, 4)
        assert json.loads(leaderboard_format.to_json(found.ranked, found.failed))["ranked"] == []

    def test_is_summed_up_in_a_line(self, mixed: pd.DataFrame) -> None:
        found = standing(mixed, "first")
        assert failures_format.summary(found.failed, found.stopped, "first") == (
            "Not ranked: 1 failed, 3 pruned because they diverged or ran out of memory, "
            "2 stopped early by the search; see why: metasweep leaderboard first --failed"
        )
        nothing = found.failed.iloc[:0]
        assert (
            failures_format.summary(nothing, 2, "x") == "Not ranked: 2 stopped early by the search"
        )
        assert failures_format.summary(nothing, 0, "x") == ""


class TestFormats:
    def test_terminal(self, mixed: pd.DataFrame) -> None:
        text = _printed(failed(mixed), width=100)
        assert "training loss is nan after N episodes" in text
        assert "training loss is nan after 40 episodes" in text
        assert HALVED not in text
        assert _printed(failed(mixed.iloc[:0])) == "No trial has failed.\n"

    def test_csv_and_markdown(self, mixed: pd.DataFrame) -> None:
        found = failed(mixed)
        rows = list(csv.DictReader(io.StringIO(failures_format.to_csv(found))))
        assert [int(row["number"]) for row in rows] == [2, 4, 5, 7]
        assert rows[0]["reason"] == BROKEN
        lines = failures_format.to_markdown(found).splitlines()
        assert lines[2] == "| 2 | PRUNED | training loss is nan after N episodes |"
        assert f"| 2 | maml | mlp | FAIL | {BROKEN} |" in lines
        assert failures_format.to_markdown(found.iloc[:0]) == "No trial has failed.\n"

    def test_a_reason_is_never_more_than_text(self, config: Config) -> None:
        names = {"algorithm": "a|b[bold]", "network": "@n<i>"}
        found = failed(frame(config, (1, "FAIL", HOSTILE), **names))
        terminal = _printed(found)
        assert "[red]x[/red]" in terminal
        assert "a|b[bold]" in terminal
        assert "\x1b" not in terminal

        markdown = failures_format.to_markdown(found)
        assert "<script>" not in markdown
        assert "&lt;script&gt;" in markdown
        assert r"a\|b\[bold\]" in markdown
        assert r"\[a\](http://b)" in markdown
        assert "\x1b" not in markdown
        # Five columns and a trial: neither the bar nor the end of a line has made another.
        last = markdown.splitlines()[-1].replace(r"\|", "")
        assert last.count("|") == 6

        [row] = csv.DictReader(io.StringIO(failures_format.to_csv(found)))
        assert row["reason"] == "'" + HOSTILE
        assert row["network"] == "'@n<i>"

    def test_a_name_on_the_leaderboard_is_never_more_than_text(self, config: Config) -> None:
        names = {"algorithm": "[red]m[/red]|<b>\x1b[2J", "network": "=n"}
        board = standing(frame(config, (1, "COMPLETE", ""), **names), "first").ranked
        file = io.StringIO()
        leaderboard_format.print_table(board, Console(width=200, file=file))
        assert "[red]m[/red]|<b>" in file.getvalue()
        assert "\x1b" not in file.getvalue()
        row = leaderboard_format.to_markdown(board).splitlines()[4]
        assert r"| 1 | \[red\]m\[/red\]\|&lt;b&gt;\\x1b\[2J | =n |" in row
        [entry] = csv.DictReader(io.StringIO(leaderboard_format.to_csv(board)))
        assert entry["network"] == "'=n"


def _printed(failures: pd.DataFrame, width: int = 200) -> str:
    file = io.StringIO()
    failures_format.print_failures(failures, Console(width=width, file=file))
    return file.getvalue()

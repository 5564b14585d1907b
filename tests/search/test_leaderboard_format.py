"""How a leaderboard is shown."""

from __future__ import annotations

import csv
import io
import json
import math

import pandas as pd
import pytest
from rich.console import Console

from search import leaderboard_format
from search.config import Config
from search.leaderboard import (
    Baseline,
    leaderboard,
    standing,
)
from tests.search.conftest import MakeRow

# mlflow 3.17 maps its tables in a way that SQLAlchemy 2.1 deprecates.
pytestmark = pytest.mark.filterwarnings(
    "ignore:The ``noload`` loader strategy:sqlalchemy.exc.SADeprecationWarning"
)

KEYS = [
    *("rank", "algorithm", "network", "inner_steps"),
    *("validation_mean", "validation_ci95_low", "validation_ci95_high"),
    *("test_mean", "test_ci95_low", "test_ci95_high", "metric", "parameters"),
    *("train_seconds", "seconds_per_1000", "peak_memory_mb", "adaptation_ms"),
    *("episodes", "seed", "state", "confirmed", "failed_seeds", "published", "run_id"),
]


class TestFormats:
    @pytest.fixture
    def board(self, row: MakeRow, config: Config) -> pd.DataFrame:
        frame = pd.DataFrame(
            [
                row("a" * 32, 0.031234, 0.04),
                row("b" * 32, 0.5, math.nan),
                row("c" * 32, 0.4, kind="confirmation", of_run="a" * 32),
            ]
        )
        return leaderboard(frame, config.problem.hash)

    def test_json_has_exactly_the_keys_and_null_for_nan(self, board: pd.DataFrame) -> None:
        nothing = pd.DataFrame(columns=["number"])
        document = json.loads(leaderboard_format.to_json(board, nothing))
        assert list(document) == ["format", "baseline", "weaker_baselines", "ranked", "failed"]
        assert document["format"] == "metasweep-leaderboard-2"
        assert document["failed"] == []
        assert document["baseline"] is None
        assert document["weaker_baselines"] == []
        rows = document["ranked"]
        assert [list(entry) for entry in rows] == [KEYS, KEYS]
        assert rows[0]["confirmed"] is True
        assert rows[0]["rank"] == 1
        assert rows[0]["parameters"]["maml/inner_steps"] == 1
        assert rows[1]["test_mean"] is None
        assert rows[1]["test_ci95_low"] is None

    def test_baseline_stands_below_the_ranking(self, row: MakeRow, accuracy: Config) -> None:
        numbers = {"validation_baseline": 0.2, "test_baseline": 0.2}
        rows = [row("a", 0.31, of=accuracy, validation_baseline=math.nan, test_baseline=math.nan)]
        rows.append(row("b", 0.3, of=accuracy, **numbers))
        found = standing(pd.DataFrame(rows), "first")
        assert found.baselines == (Baseline("chance", 0.2, 0.2),)
        file = io.StringIO()
        leaderboard_format.print_table(found.ranked, Console(file=file, width=140), found.baselines)
        below = [line for line in file.getvalue().splitlines() if " - chance" in line]
        assert below[0].split() == ["-", "chance", "20", "20"]
        markdown = leaderboard_format.to_markdown(found.ranked, found.baselines)
        assert "| - | chance |  |  | 20 | 20  |" in markdown
        document = json.loads(
            leaderboard_format.to_json(found.ranked, found.failed, found.baselines)
        )
        assert document["baseline"] == {"name": "chance", "validation_mean": 0.2, "test_mean": 0.2}
        assert len(document["ranked"]) == 2

    def test_csv(self, board: pd.DataFrame) -> None:
        rows = list(csv.DictReader(io.StringIO(leaderboard_format.to_csv(board))))
        assert list(rows[0]) == KEYS
        assert json.loads(rows[0]["parameters"])["maml/outer_lr"] == 0.001
        assert float(rows[0]["validation_mean"]) == 0.031234

    @pytest.mark.parametrize("width", [72, 80, 100, 140])
    def test_table_is_readable_in_any_terminal(self, board: pd.DataFrame, width: int) -> None:
        file = io.StringIO()
        leaderboard_format.print_table(board, Console(width=width, file=file))
        text = file.getvalue()
        assert "…" not in text
        assert "0.03 ± 0.10" in text
        assert "1.00 ± 0.20*" in text
        assert "neither seeds nor new" in " ".join(text.split())
        table, _, left_out = text.partition("Left out for want of width:")
        assert ("inner_lr" in table) == (width >= 100)
        assert ("inner_lr" in left_out) == (width < 100)

    def test_seeds_that_failed_are_marked_beside_the_star(
        self, row: MakeRow, config: Config
    ) -> None:
        again = {"kind": "confirmation", "of_run": "a"}
        rows = [row("a", 0.3), row("b", 0.4), row("a1", 0.5, **again)]
        texts = []
        for reason in ("time limit reached at 8 episodes", "training loss is nan"):
            ended = row("a2", 0.5, math.nan, state="PRUNED", reason=reason, **again)
            board = leaderboard(pd.DataFrame([*rows, ended]), config.problem.hash)
            texts.append(leaderboard_format.to_markdown(board))
        assert "1.00 ± 0.20*" in texts[0]
        assert "†" not in texts[0]
        assert "1.00 ± 0.20*†" in texts[1]
        assert "† with some of its fresh seeds it failed" in texts[1]

    @pytest.mark.parametrize(("test_mean", "holds_up"), [(0.4, True), (4.5, False), (2e11, False)])
    def test_what_is_no_better_than_the_baseline_over_fresh_seeds_is_marked(
        self, row: MakeRow, config: Config, test_mean: float, holds_up: bool
    ) -> None:
        numbers = {"validation_baseline": 4.6, "test_baseline": 4.5}
        rows = [row("a", 0.3, **numbers), row("b", 0.4, 9.0, **numbers)]
        rows.append(row("a1", 0.3, test_mean, kind="confirmation", of_run="a"))
        found = standing(pd.DataFrame(rows), "first")
        text = leaderboard_format.to_markdown(found.ranked, found.baselines)
        first, second = text.splitlines()[4:6]
        assert ("*‡ |" in first) is not holds_up
        assert "‡" not in second  # With one seed alone, nobody knows.
        told = "‡ over its fresh seeds no better than support mean: it does not hold up."
        assert (told in text) is not holds_up

    def test_where_all_seeds_failed_there_is_no_star(self, row: MakeRow, config: Config) -> None:
        again = {"kind": "confirmation", "of_run": "a", "state": "FAIL"}
        rows = [row("a", 0.3), row("b", 0.4), row("a1", 0.5, math.nan, **again)]
        board = leaderboard(pd.DataFrame(rows), config.problem.hash)
        lines = leaderboard_format.to_markdown(board).splitlines()
        assert "1.00 ± 0.20†  |" not in lines[4]
        assert "| 1.00 ± 0.20† |" in lines[4]
        assert "| 1.00 ± 0.20  |" in lines[5]

    def test_small_numbers_have_their_digits(self, row: MakeRow, config: Config) -> None:
        small = {"validation_ci95_low": 2.2e-7, "validation_ci95_high": 2.4e-7}
        board = leaderboard(pd.DataFrame([row("a", 2.3e-7, **small)]), config.problem.hash)
        assert "| 2.3e-07 ± 1e-08 |" in leaderboard_format.to_markdown(board)

    def test_table_has_just_the_columns_there_is_room_for(self, board: pd.DataFrame) -> None:
        file = io.StringIO()
        leaderboard_format.print_table(board, Console(width=200, file=file))
        needed = max(len(line) for line in file.getvalue().splitlines()[2:6])
        for width, whole in ((needed, True), (needed - 1, False)):
            file = io.StringIO()
            leaderboard_format.print_table(board, Console(width=width, file=file))
            table, _, left_out = file.getvalue().partition("Left out for want of width:")
            assert ("outer_lr" in table) is whole
            assert ("outer_lr" in left_out) is not whole
            assert "…" not in file.getvalue()

    def test_markdown(self, board: pd.DataFrame) -> None:
        lines = leaderboard_format.to_markdown(board).splitlines()
        assert lines[0] == "query_loss, lower is better"
        assert lines[4].startswith("| 1 | maml | mlp | 2 | 0.03 ± 0.10 | 1.00 ± 0.20* | 0.01 |")
        assert len({line.count("|") for line in lines[2:6]}) == 1

    def test_accuracy_in_percent(self, row: MakeRow, accuracy: Config) -> None:
        narrow = {"validation_ci95_low": 0.9490, "validation_ci95_high": 0.9570}
        frame = pd.DataFrame([row("a", 0.953, of=accuracy, **narrow)])
        text = leaderboard_format.to_markdown(leaderboard(frame, accuracy.problem.hash))
        assert text.startswith("query_accuracy in percent, higher is better")
        assert "| 95.30 ± 0.40 |" in text

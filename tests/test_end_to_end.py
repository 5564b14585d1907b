"""One search, from the command to the leaderboard, the records and what follows from them."""

from __future__ import annotations

import json
import re
from io import StringIO
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from mlflow.entities import Run
from optuna.trial import TrialState
from PIL import Image

from algorithms import ALGORITHMS
from search.config import Config
from search.leaderboard import COLUMNS
from search.run_params import from_params
from search.search_folder import free_name
from search.spec import load_spec
from search.tracking_reader import Reader
from tests.cli import (
    Done,
    call,
    free_port,
    page,
    run,
    session_members,
    started,
    wait_until,
)
from tests.ended_search import (
    CONFIRMED,
    DIVERGING,
    EPISODES,
    RANKING,
    RUNG,
    TEST,
    TRIALS,
    EndedSearch,
    search_beside_one_that_diverges,
)


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[EndedSearch, Done]:
    folder, elsewhere = (tmp_path_factory.mktemp(name) for name in ("search", "diverging"))
    return search_beside_one_that_diverges(folder, elsewhere)


@pytest.fixture(scope="module")
def search(both: tuple[EndedSearch, Done]) -> EndedSearch:
    return both[0]


@pytest.fixture(scope="module")
def best(search: EndedSearch) -> Path:
    """What `export` wrote of the search."""
    done = call("export", "sinusoid", "-o", "best.yaml", folder=search.folder)
    assert done.code == 0, done.output
    return search.folder / "best.yaml"


class TestOutput:
    def test_tells_of_every_job(self, search: EndedSearch) -> None:
        jobs = re.findall(r"^ +\d+s  (\S+) .*(COMPLETE|PRUNED) ", search.done.output, re.MULTILINE)
        names = [name for name, _ in jobs]
        assert sorted(n for n in names if n.startswith("trial")) == [
            f"trial-{number:03d}" for number in range(TRIALS)
        ]
        assert len([name for name in names if name.startswith("confirm-")]) == 2 * CONFIRMED

    def test_ends_with_leaderboard_and_what_to_type_next(self, search: EndedSearch) -> None:
        _, _, end = search.done.output.partition("query_loss, lower is better")
        best = search.board()[0]
        mark = "°" if best["published"] else ""
        assert re.search(rf"^ +1 +{best['algorithm']}{mark} +mlp ", end, re.MULTILINE)
        gain = "The best is the published default" if mark else "than the best published default"
        assert gain in end
        assert "never sorted by" in end
        assert re.search(
            r"\n  metasweep leaderboard sinusoid\n  metasweep export sinusoid .*\n  metasweep ui\n",
            end,
        )

    def test_has_no_warnings(self, search: EndedSearch) -> None:
        assert not re.search("warn|error|traceback", search.done.output, re.IGNORECASE)


class TestLeaderboard:
    def test_marks_the_published_defaults(self, search: EndedSearch) -> None:
        defaults = {
            str(trial.number)
            for trial in search.study.get_trials(states=(TrialState.COMPLETE,))
            if trial.user_attrs.get("reference")
        }
        trials = search.of("trial")
        published = [row["run_id"] for row in search.board() if row["published"]]
        marked = {trials[run_id].data.tags["metasweep.trial"] for run_id in published}
        assert defaults
        assert marked == defaults

    def test_json_has_the_published_keys_best_first(self, search: EndedSearch) -> None:
        board = search.board()
        assert all(list(row) == list(COLUMNS) for row in board)
        assert [row["rank"] for row in board] == list(range(1, len(board) + 1))
        means = [row["validation_mean"] for row in board]
        assert means == sorted(means)
        assert {row["state"] for row in board} == {"COMPLETE"}

    def test_best_are_confirmed_with_fresh_seeds(self, search: EndedSearch) -> None:
        board = search.board()
        assert [row["confirmed"] for row in board] == [
            rank < CONFIRMED for rank in range(len(board))
        ]
        best = board[0]
        again = [
            run
            for run in search.of("confirmation").values()
            if run.data.tags["metasweep.of_run"] == best["run_id"]
        ]
        assert len({run.data.params["seed"] for run in again} - {str(best["seed"])}) == 2
        # The interval is that of each episode's mean over the seeds.
        values = [search.history(run, "episode/test/query_loss_after") for run in again]
        mean = pd.concat(values, axis=1).mean(axis=1)
        assert best["test_mean"] == pytest.approx(mean.mean())
        half = 1.96 * mean.std() / np.sqrt(TEST)
        assert best["test_ci95_high"] - best["test_mean"] == pytest.approx(half)

    def test_of_the_problem_is_that_of_its_only_search(self, search: EndedSearch) -> None:
        assert search.board("sinusoid-10shot") == search.board()

    def test_csv_is_the_artifact(self, search: EndedSearch) -> None:
        done = call("leaderboard", "sinusoid", "--format=csv", folder=search.folder)
        path = search.client.download_artifacts(search.parent.info.run_id, "leaderboard.csv")
        assert Path(path).read_text() == done.output
        frame = pd.read_csv(StringIO(done.output))
        assert list(frame["run_id"]) == [row["run_id"] for row in search.board()]

    def test_markdown_is_a_table(self, search: EndedSearch) -> None:
        done = call("leaderboard", "sinusoid", "--format=markdown", folder=search.folder)
        rows = [line for line in done.output.splitlines() if line.startswith("|")]
        assert len(rows) == 2 + len(search.board()) + 1
        assert rows[-1].startswith("| - | support mean |")
        assert len({row.count("|") for row in rows}) == 1

    def test_file_gets_what_would_be_printed(self, search: EndedSearch, tmp_path: Path) -> None:
        arguments = ["leaderboard", "sinusoid", "--top=1", "--format=json"]
        printed = call(*arguments, folder=search.folder)
        call(*arguments, "-o", str(tmp_path / "new" / "board.json"), folder=search.folder)
        assert (tmp_path / "new" / "board.json").read_text() == printed.output
        pretrained = [row["rank"] for row in search.board() if row["algorithm"] == "pretrain"][:1]
        expected = [row for row in search.board() if row["rank"] in (1, *pretrained)]
        assert json.loads(printed.output)["ranked"] == expected

    def test_unknown_name_is_answered_with_known_ones(self, search: EndedSearch) -> None:
        done = call("leaderboard", "sinusiod", folder=search.folder)
        assert done.code == 2
        assert "there is sinusoid" in done.errors

    def test_rank_beyond_its_end_cannot_be_exported(self, search: EndedSearch) -> None:
        done = call("export", "sinusoid", "--rank=99", folder=search.folder)
        assert done.code == 2
        assert f"--rank: 99: sinusoid has {len(search.board())} finished trials" in done.errors


class TestStudy:
    def test_published_defaults_come_first(self, search: EndedSearch) -> None:
        resolved = search.client.download_artifacts(search.parent.info.run_id, "spec.yaml")
        spec = load_spec(Path(resolved))
        assert set(spec.algorithms) <= set(ALGORITHMS)
        assert [trial.params for trial in search.study.trials[: len(spec.algorithms)]] == [
            spec.search_space().defaults(algorithm, "mlp") for algorithm in spec.algorithms
        ]

    def test_trials_ended_as_mlflow_says(self, search: EndedSearch) -> None:
        trials = search.study.trials
        assert [trial.number for trial in trials] == list(range(TRIALS))
        assert {trial.state.name for trial in trials} <= {"COMPLETE", "PRUNED"}
        runs = search.of("trial")
        assert {search.run_id(t): t.state.name for t in trials} == {
            run_id: run.data.tags["metasweep.state"] for run_id, run in runs.items()
        }
        values = {search.run_id(t): t.value for t in trials if t.state.name == "COMPLETE"}
        assert values == {row["run_id"]: row["validation_mean"] for row in search.board()}


class TestRecords:
    @pytest.fixture(params=["trial", "confirmation"])
    def trials(self, request: pytest.FixtureRequest, search: EndedSearch) -> list[Run]:
        return list(search.of(request.param).values())

    def test_parameters_are_the_whole_configuration(self, search: EndedSearch) -> None:
        for trial in search.study.trials:
            run = search.of("trial")[search.run_id(trial)]
            config = from_params(run.data.params)
            assert config == Config.from_dict(trial.user_attrs["config"])
            assert f"{config.algorithm}/inner_lr" in run.data.params
            assert config.seed == trial.number

    def test_every_run_says_where_it_comes_from(self, search: EndedSearch) -> None:
        problem = from_params(next(iter(search.of("trial").values())).data.params).problem
        for each in search.runs:
            tags = each.data.tags
            assert re.fullmatch(r"unknown|[0-9a-f]{40}(-dirty)?", tags["metasweep.git_commit"])
            assert {"python", "torch", "ray", "optuna"} <= set(
                json.loads(tags["metasweep.versions"])
            )
            assert tags["metasweep.data_digest"] == problem.data_digest != ""
            assert tags["metasweep.problem_hash"] == problem.hash
            assert tags["metasweep.search"] == "sinusoid"
            assert tags["metasweep.seed"].isdigit()
            assert each.info.status == "FINISHED"

    def test_parquet_holds_every_episode_once(self, search: EndedSearch, trials: list[Run]) -> None:
        for trial in trials:
            table = search.table(trial)
            config = from_params(trial.data.params)
            seen = table["episodes_seen"].max()
            by_split = dict(iter(table.groupby("split")))
            assert sorted(by_split["train"]["index"]) == list(range(seen))
            rungs = [rung for rung in config.rungs if rung <= seen]
            indices = list(range(RUNG))
            judged = table[table["split"] == "rung"].groupby("episodes_seen")["index"]
            assert judged.apply(sorted).to_dict() == dict.fromkeys(rungs, indices)
            if trial.data.tags["metasweep.state"] == "COMPLETE":
                assert seen == EPISODES
                ranked = by_split["validation"]["index"]
                assert sorted(ranked) == list(range(RUNG, RUNG + RANKING))
                assert sorted(by_split["test"]["index"]) == list(range(TEST))

    def test_metrics_hold_every_evaluation_episode(
        self, search: EndedSearch, trials: list[Run]
    ) -> None:
        for trial in trials:
            table = search.table(trial)
            for split in ("validation", "test"):
                rows = table[table["split"] == split].set_index("index").sort_index()
                for when in ("before", "after"):
                    logged = search.history(trial, f"episode/{split}/query_loss_{when}")
                    assert logged.to_dict() == rows[f"loss_{when}"].to_dict()

    def test_metrics_hold_training_and_validation_on_the_way(
        self, search: EndedSearch, trials: list[Run]
    ) -> None:
        for trial in trials:
            table = search.table(trial)
            finite = table[np.isfinite(table["loss_after"])]
            rows = finite[finite["split"] == "train"].set_index("index").sort_index()
            logged = search.history(trial, "episode/train/query_loss")
            assert logged.to_dict() == rows["loss_after"].to_dict()
            judged = table[table["split"].isin(("rung", "validation"))]
            means = judged.groupby("episodes_seen")["loss_after"].mean()
            logged = search.history(trial, "validation/query_loss")
            assert logged.to_dict() == pytest.approx(means[np.isfinite(means)].to_dict())

    def test_summaries_are_of_these_episodes(self, search: EndedSearch, trials: list[Run]) -> None:
        for trial in trials:
            if trial.data.tags["metasweep.state"] != "COMPLETE":
                continue
            for split, count in (("validation", RANKING), ("test", TEST)):
                values = search.history(trial, f"episode/{split}/query_loss_after")
                summary = {
                    part: trial.data.metrics[f"summary/{split}_{part}"]
                    for part in ("mean", "ci95_low", "ci95_high", "n")
                }
                half = 1.96 * values.std() / np.sqrt(count)
                mean = values.mean()
                expected = {"mean": mean, "ci95_low": mean - half, "ci95_high": mean + half}
                assert summary == pytest.approx(expected | {"n": count})

    def test_search_keeps_its_results(self, search: EndedSearch) -> None:
        parent = search.parent.info.run_id
        kept = search.artifacts(parent)
        assert {"leaderboard.csv", "best.yaml", "plots", "spec.yaml"} <= kept
        plots = search.artifacts(parent, "plots")
        for plot in plots:
            text = Path(search.client.download_artifacts(parent, plot)).read_text()
            assert "<html>" in text
            assert "Plotly.newPlot" in text
        assert {"plots/optimization_history.html", "plots/adaptation_curves.html"} <= plots

    def test_best_trials_have_pictures_of_their_predictions(self, search: EndedSearch) -> None:
        best = search.board()[0]["run_id"]
        runs = search.of("confirmation").values()
        confirmed = {run.data.tags["metasweep.of_run"] for run in runs}
        drawn = {f"pictures/episode-{index}.png" for index in range(2)}
        for run_id in search.of("trial"):
            kept = search.artifacts(run_id, "pictures")
            assert kept == (drawn if run_id in confirmed else set())
        picture = Path(search.client.download_artifacts(best, "pictures/episode-0.png"))
        with Image.open(picture) as image:
            assert image.format == "PNG"


class TestDivergence:
    def test_is_pruned_with_its_reason_and_keeps_its_episodes(self, search: EndedSearch) -> None:
        diverged = [
            trial for trial in search.study.trials if trial.params["algorithm"] == DIVERGING
        ]
        assert diverged
        for trial in diverged:
            assert trial.state.name == "PRUNED"
            assert re.search("loss .* is (inf|nan)", trial.user_attrs["reason"])
            assert np.isnan(trial.intermediate_values[max(trial.intermediate_values)])
            run = search.of("trial")[search.run_id(trial)]
            assert run.data.tags["metasweep.state"] == "PRUNED"
            assert run.data.tags["metasweep.reason"] == trial.user_attrs["reason"]
            assert not np.isfinite(search.table(run)["loss_after"]).all()

    def test_of_every_trial_fails_the_search(self, both: tuple[EndedSearch, Done]) -> None:
        _, done = both
        assert done.code == 1, done.output
        assert "Traceback" not in done.output
        message = "error sinusoid: no trial has finished, so there is nothing to rank (2 pruned)"
        assert message in done.output


class TestExport:
    def test_is_what_the_search_kept(self, search: EndedSearch, best: Path) -> None:
        kept = search.client.download_artifacts(search.parent.info.run_id, "best.yaml")
        assert best.read_text() == Path(kept).read_text()

    def test_says_what_was_found_and_how(self, search: EndedSearch, best: Path) -> None:
        document, row = yaml.safe_load(best.read_text()), search.board()[0]
        assert document["config"]["algorithm"] == row["algorithm"]
        assert document["config"]["seed"] == row["seed"]
        assert document["results"]["validation"]["mean"] == row["validation_mean"]
        assert document["results"]["test"]["mean"] == row["test_mean"]
        assert document["provenance"]["run_id"] == row["run_id"]
        assert document["provenance"]["search"] == "sinusoid"

    def test_trains_to_the_same_numbers_elsewhere(
        self, search: EndedSearch, best: Path, tmp_path: Path
    ) -> None:
        (tmp_path / "best.yaml").write_text(best.read_text())
        done = run("train", "best.yaml", "--seeds=1", folder=tmp_path)
        assert done.code == 0, done.output
        frame = Reader(f"sqlite:///{tmp_path / 'mlflow.db'}").trials("sinusoid-10shot")
        [row] = frame.to_dict("records")
        original = search.of("trial")[search.board()[0]["run_id"]]
        for name in ("validation_mean", "test_mean", "test_ci95_low"):
            assert row[name] == original.data.metrics[f"summary/{name}"]

    def test_trains_with_more_seeds_and_another_budget(self, best: Path, tmp_path: Path) -> None:
        arguments = ["train", str(best), "--seeds=2", "--episodes=200"]
        done = call(*arguments, folder=tmp_path)
        assert done.code == 0, done.output
        rows = Reader(f"sqlite:///{tmp_path / 'mlflow.db'}").trials("sinusoid-10shot")
        first = yaml.safe_load(best.read_text())["config"]["seed"]
        assert list(rows["seed"]) == [first, first + 1]
        assert set(rows["episodes"]) == {200}
        mean = rows["test_mean"].mean()
        assert f"meta-test query_loss {mean:.4f}, 95 % interval" in done.output
        again = call(*arguments, folder=tmp_path)
        assert again.output == done.output
        for number, checkpoint in enumerate(re.findall(r"checkpoint (\S+)", done.output)):
            judged = call("evaluate", checkpoint, f"--episodes={TEST}", folder=tmp_path)
            assert f"query_loss {rows['test_mean'][number]:.4f} " in judged.output
            assert f"over {TEST} episodes" in judged.output
        more = call("evaluate", checkpoint, folder=tmp_path)
        assert "over 1000 episodes" in more.output


class TestName:
    def test_in_use_is_refused(self, search: EndedSearch, tmp_path: Path) -> None:
        for more in ([], ["--storage", str(tmp_path)]):
            done = call("search", "sinusoid", "--name=sinusoid", *more, folder=search.folder)
            assert done.code == 2
            assert "in use by " in done.errors
            assert "metasweep resume sinusoid" in done.errors
        assert list(tmp_path.iterdir()) == []

    def test_not_given_is_made_free(self, search: EndedSearch, tmp_path: Path) -> None:
        find = Reader(search.uri).find_search
        for storage in (search.folder / "metasweep-store", tmp_path):
            assert free_name(storage, "sinusoid", find) == "sinusoid-2"

    def test_of_an_ended_search_is_not_resumed(self, search: EndedSearch) -> None:
        done = call("resume", "sinusoid", folder=search.folder)
        assert done.code == 2
        assert "sinusoid: has ended" in done.errors


class TestUi:
    def test_is_served_on_loopback_until_it_is_ended(self, search: EndedSearch) -> None:
        port = free_port()
        with started("ui", f"--port={port}", folder=search.folder) as server:
            url = f"http://127.0.0.1:{port}"
            wait_until(lambda: "MLflow" in (page(url) or ""), 300, f"an answer from {url}")
            taken = call("ui", f"--port={port}", folder=search.folder)
            assert taken.code == 1
            assert f"--port: {port}: is in use" in taken.errors
            server.terminate()
            output, _ = server.communicate(timeout=60)
            assert url in output
            wait_until(lambda: not session_members(server), 60, "the end of all its processes")

"""A search that has ended, and everything that can be asked of it."""

from __future__ import annotations

import json
from functools import cached_property
from pathlib import Path
from typing import Any

import optuna
import pandas as pd
from mlflow import MlflowClient
from mlflow.entities import Run

from tests.cli import SMALL, Done, call, run, run_ids, started

TRIALS, EPISODES, CONFIRMED = 7, 900, 2
RUNG, RANKING, TEST = 20, 40, 50
DIVERGING = "anil"
OPTIONS = (
    f"--trials={TRIALS}",
    f"--episodes={EPISODES}",
    f"--set=confirmation.best={CONFIRMED}",
    # Every adaptation of this one ends in numbers that are not finite.
    f"--set=space.{DIVERGING}/inner_lr=100",
    f"--set=space.{DIVERGING}/inner_steps_evaluation=20",
    *SMALL,
)
ALL_DIVERGE = (
    "--trials=2",
    "--episodes=300",
    "--set=algorithms=[maml]",
    "--set=space={maml/inner_lr: 100, maml/inner_steps_evaluation: 20}",
    *SMALL,
)


class EndedSearch:
    """A search that has ended, with all it left behind."""

    def __init__(self, folder: Path, done: Done):
        self.folder = folder
        self.done = done
        self.uri = f"sqlite:///{folder / 'mlflow.db'}"
        self.client = MlflowClient(self.uri)

    @cached_property
    def study(self) -> optuna.Study:
        url = f"sqlite:///{self.folder / 'metasweep-store' / 'sinusoid' / 'study.db'}"
        return optuna.load_study(study_name="sinusoid", storage=url)

    @cached_property
    def runs(self) -> list[Run]:
        experiment = self.client.get_experiment_by_name("sinusoid-10shot")
        return self.client.search_runs([experiment.experiment_id])

    @property
    def parent(self) -> Run:
        [run] = [run for run in self.runs if run.data.tags["metasweep.kind"] == "search"]
        return run

    def of(self, kind: str) -> dict[str, Run]:
        """Return the runs of a kind by id, each below the search's own."""
        runs = [run for run in self.runs if run.data.tags["metasweep.kind"] == kind]
        parents = {run.data.tags["mlflow.parentRunId"] for run in runs}
        assert parents == {self.parent.info.run_id}
        return {run.info.run_id: run for run in runs}

    def history(self, run: Run, key: str) -> pd.Series:
        """Return a metric's values by step; no step may have two."""
        points = self.client.get_metric_history(run.info.run_id, key)
        assert len({point.step for point in points}) == len(points)
        return pd.Series({point.step: point.value for point in points}, dtype=float).sort_index()

    def artifacts(self, run_id: str, folder: str | None = None) -> set[str]:
        """Return the paths of a run's artifacts in a folder."""
        return {file.path for file in self.client.list_artifacts(run_id, folder)}

    def table(self, run: Run) -> pd.DataFrame:
        """Return a run's episodes from its parquet artifacts."""
        folder = Path(self.client.download_artifacts(run.info.run_id, "episodes"))
        return pd.concat([pd.read_parquet(file) for file in sorted(folder.glob("*.parquet"))])

    def run_id(self, trial: optuna.trial.FrozenTrial) -> str:
        """Return the run that a trial's folder names."""
        return run_ids(self.folder / "metasweep-store" / "sinusoid")[trial.number]

    def board(self, name: str = "sinusoid") -> list[dict[str, Any]]:
        done = call("leaderboard", name, "--format", "json", folder=self.folder)
        assert done.code == 0, done.output
        return json.loads(done.output)["ranked"]


def search_beside_one_that_diverges(folder: Path, elsewhere: Path) -> tuple[EndedSearch, Done]:
    """Run a search, and another at the same time of which every trial diverges."""
    with started("search", "sinusoid", *ALL_DIVERGE, folder=elsewhere) as process:
        done = run("search", "sinusoid", *OPTIONS, folder=folder)
        output, _ = process.communicate(timeout=100)
    assert done.code == 0, done.output
    return EndedSearch(folder, done), Done(process.returncode, output)

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import optuna
import pandas as pd
import pytest

from search import episode_table, plots
from search.records import EpisodeRecords

MakeRecords = Callable[..., EpisodeRecords]


def objective(trial: optuna.Trial) -> float:
    algorithm = trial.suggest_categorical("algorithm", ["maml", "anil"])
    rate = trial.suggest_float(f"{algorithm}/inner_lr", 0.001, 1.0, log=True)
    return abs(math.log10(rate) + 1) + (algorithm == "anil")


def study_of(trials: int) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    study.optimize(objective, n_trials=trials)
    return study


@pytest.fixture
def episodes(tmp_path: Path, make_records: MakeRecords) -> pd.DataFrame:
    path = tmp_path / "episodes.parquet"
    parts = [
        make_records("train", range(5), 900),
        make_records("validation", range(6), 900),
        make_records("test", range(8), 900),
    ]
    path.write_bytes(episode_table.to_parquet(parts))
    return episode_table.read([path])


def test_pages_need_nothing_else(tmp_path: Path, episodes: pd.DataFrame) -> None:
    written = plots.write_plots(tmp_path / "plots", study_of(12), "query_loss", episodes)
    assert written.notes == []
    assert sorted(path.name for path in (tmp_path / "plots").iterdir()) == [
        "adaptation_curves.html",
        "optimization_history.html",
        "parameter_importance.html",
    ]
    for path in written.files:
        text = path.read_text(encoding="utf-8")
        assert "Plotly.newPlot(" in text
        assert '<script src="' not in text
        assert '<script charset="utf-8" src=' not in text


def test_nothing_is_written_of_nothing(tmp_path: Path, episodes: pd.DataFrame) -> None:
    written = plots.write_plots(tmp_path, study_of(0), "query_loss", episodes.iloc[:0])
    assert written.files == []
    assert written.notes == [
        "optimization_history: no trial has finished",
        "parameter_importance: 0 trials have finished; it takes 4",
        "adaptation_curves: the best trial has no finite evaluation episodes",
    ]


def test_importance_ranks_what_matters_first() -> None:
    figure = plots.parameter_importance(study_of(40))
    assert not isinstance(figure, str)
    (bars,) = figure.data
    assert set(bars.y) == {"algorithm", "maml/inner_lr"}
    assert sum(bars.x) == pytest.approx(1.0)


def test_importance_needs_trials_that_differ() -> None:
    study = study_of(0)
    study.optimize(lambda trial: 1.0 + 0 * trial.suggest_int("depth", 3, 3), n_trials=5)
    assert "do not differ" in str(plots.parameter_importance(study))


def test_adaptation_curve_is_the_mean_over_episodes(episodes: pd.DataFrame) -> None:
    figure = plots.adaptation_curves(episodes, "query_loss")
    assert not isinstance(figure, str)
    lines = {line.name: line for line in figure.data if line.name}
    assert set(lines) == {"meta-validation (6 episodes)", "meta-test (8 episodes)"}
    test = episodes[episodes["split"] == "test"]
    expected = np.stack(list(test["loss_curve"])).mean(axis=0)
    np.testing.assert_allclose(lines["meta-test (8 episodes)"].y, expected)
    assert list(lines["meta-test (8 episodes)"].x) == [0, 1, 2]


def test_ticks_are_whole_steps(episodes: pd.DataFrame) -> None:
    axis = plots.adaptation_curves(episodes, "query_loss").layout.xaxis
    assert (axis.tick0, axis.dtick) == (0, 1)
    wide = episodes.assign(loss_curve=[np.ones(26)] * len(episodes))
    assert plots.adaptation_curves(wide, "query_loss").layout.xaxis.dtick == 3


def test_steps_that_were_not_measured_are_left_out(episodes: pd.DataFrame) -> None:
    for curve in episodes.loc[episodes["split"] != "train", "loss_curve"]:
        curve.setflags(write=True)
        curve[1] = np.nan
    figure = plots.adaptation_curves(episodes, "query_loss")
    assert not isinstance(figure, str)
    assert all(list(line.x) == [0, 2] for line in figure.data if line.name)


def test_seeds_of_an_episode_are_one_episode(episodes: pd.DataFrame) -> None:
    twice = pd.concat([episodes, episodes], ignore_index=True)
    once, again = (plots.adaptation_curves(each, "query_loss") for each in (episodes, twice))
    for one, other in zip(once.data, again.data, strict=True):
        assert one.name == other.name
        np.testing.assert_allclose(one.y, other.y)


def test_episodes_that_are_not_finite_are_counted(episodes: pd.DataFrame) -> None:
    curves = episodes.loc[episodes["split"] == "test", "loss_curve"]
    curves.iloc[0].setflags(write=True)
    curves.iloc[0][2] = np.inf
    figure = plots.adaptation_curves(episodes, "query_loss")
    lines = {line.name: line for line in figure.data if line.name}
    test = lines["meta-test (7 of 8 episodes)"]
    np.testing.assert_allclose(test.y, np.stack(list(curves.iloc[1:])).mean(axis=0))
    for curve in episodes["loss_curve"]:
        curve.setflags(write=True)
        curve[:] = np.nan
    assert "no finite" in str(plots.adaptation_curves(episodes, "query_loss"))


def test_a_plot_that_fails_costs_no_other(
    tmp_path: Path, episodes: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plots, "adaptation_curves", lambda *_: 1 / 0)
    written = plots.write_plots(tmp_path, study_of(5), "query_loss", episodes)
    assert written.notes == ["adaptation_curves: ZeroDivisionError: division by zero"]
    assert len(written.files) == 2

"""Plots of a search, as HTML pages that need nothing else."""

from __future__ import annotations

import html
import logging
import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import optuna
import pandas as pd
from optuna.exceptions import ExperimentalWarning
from optuna.trial import FrozenTrial, TrialState
from plotly import graph_objects as go

from search.config import Metric

log = logging.getLogger("metasweep")

TRIALS_FOR_IMPORTANCE = 4
IMPORTANCES_SHOWN = 15
SPLITS = {
    "validation": ("meta-validation", "31, 119, 180"),
    "test": ("meta-test", "214, 99, 36"),
}


@dataclass
class Plots:
    """The files that were written, and a note for each that was left out."""

    files: list[Path] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def write_plots(
    folder: Path, study: optuna.Study, metric: Metric, best_episodes: pd.DataFrame
) -> Plots:
    """Write `optimization_history.html`, `parameter_importance.html`, `adaptation_curves.html`.

    best_episodes: the episode table of the best trial (columns: `search.episode_table`).
    """
    folder.mkdir(parents=True, exist_ok=True)
    plots = Plots()
    figures: dict[str, Callable[[], go.Figure | str]] = {
        "optimization_history": lambda: optimization_history(study, metric),
        "parameter_importance": lambda: parameter_importance(study),
        "adaptation_curves": lambda: adaptation_curves(best_episodes, metric),
    }
    for name, draw in figures.items():
        try:
            figure = draw()
        except Exception as error:
            # Whatever it is, a plot never decides whether a search ends.
            log.exception("no plot %s", name)
            figure = f"{type(error).__name__}: {error}"
        if isinstance(figure, str):
            plots.notes.append(f"{name}: {figure}")
            continue
        path = folder / f"{name}.html"
        # The script goes into every page: MLflow shows a page without the files beside it.
        figure.write_html(path, include_plotlyjs=True)
        plots.files.append(path)
    return plots


def optimization_history(study: optuna.Study, metric: Metric) -> go.Figure | str:
    """Return every finished trial's value and the best so far, or why there is no figure."""
    if not _complete(study):
        return "no trial has finished"
    figure = optuna.visualization.plot_optimization_history(study, target_name=metric)
    if metric == "query_loss":
        figure.update_yaxes(type="log")
    return figure.update_layout(title="Optimization history", template="plotly_white")


def parameter_importance(study: optuna.Study) -> go.Figure | str:
    """Return the parameters that good values depend on most, or why there is no figure.

    Measured over the finished trials with Optuna's default, PED-ANOVA (Watanabe et al. 2023), which
    gives a conditional parameter its due too.
    """
    values = [trial.value for trial in _complete(study)]
    finished = len(values)
    if finished < TRIALS_FOR_IMPORTANCE:
        return f"{finished} trials have finished; it takes {TRIALS_FOR_IMPORTANCE}"
    if len(set(values)) == 1:
        return "the finished trials do not differ"
    with warnings.catch_warnings():
        # Optuna warns of each parameter that few of the trials have; the title says how many.
        warnings.simplefilter("ignore", UserWarning)
        warnings.simplefilter("ignore", ExperimentalWarning)
        try:
            importances = optuna.importance.get_param_importances(study)
        except (ValueError, RuntimeError):
            importances = {}
    importances = {name: share for name, share in importances.items() if share > 0}
    if not importances:
        return "the finished trials have no parameter that tells them apart"
    shown = dict(list(importances.items())[:IMPORTANCES_SHOWN])
    # Plotly reads tags in labels, such as links; a name may come from anyone's package.
    labels = [html.escape(name, quote=False) for name in shown]
    figure = go.Figure(go.Bar(x=list(shown.values()), y=labels, orientation="h"))
    return figure.update_layout(
        title=f"Parameter importance, over {finished} finished trials",
        xaxis_title="share of the importance",
        yaxis={"autorange": "reversed", "automargin": True},
        template="plotly_white",
    )


TICKS = 10
"""At most, beside that of no step."""


def adaptation_curves(episodes: pd.DataFrame, metric: Metric) -> go.Figure | str:
    """Return the mean metric after each inner step with a 95 % band over episodes.

    Steps that were not measured are left out, and episodes that are not finite after some of the
    others; the label counts these. Of several seeds an episode's mean is taken first. Returns why
    when there is no figure.
    """
    figure = go.Figure()
    column = "loss_curve" if metric == "query_loss" else "score_curve"
    for split, (label, color) in SPLITS.items():
        rows = episodes.loc[episodes["split"] == split, ["index", column]]
        if rows.empty:
            continue
        every = np.stack(
            [np.stack(list(of)).mean(axis=0) for _, of in rows.groupby("index")[column]]
        )
        steps = np.flatnonzero(np.isfinite(every).any(axis=0))
        values = every[np.isfinite(every[:, steps]).all(axis=1)][:, steps]
        if not values.size:
            continue
        counted = f"{len(values):,}" + f" of {len(every):,}" * (len(values) < len(every))
        mean = values.mean(axis=0)
        half = 1.96 * values.std(axis=0, ddof=min(1, len(values) - 1)) / math.sqrt(len(values))
        figure.add_scatter(
            x=np.concatenate([steps, steps[::-1]]),
            y=np.concatenate([mean + half, (mean - half)[::-1]]),
            fill="toself",
            fillcolor=f"rgba({color}, 0.2)",
            line={"width": 0},
            mode="lines",
            hoverinfo="skip",
            showlegend=False,
        )
        figure.add_scatter(
            x=steps,
            y=mean,
            name=f"{label} ({counted} episodes)",
            mode="lines+markers",
            line={"color": f"rgb({color})"},
        )
    if not figure.data:
        return "the best trial has no finite evaluation episodes"
    last = max(int(max(trace.x)) for trace in figure.data)
    return figure.update_layout(
        title="Adaptation of the best",
        xaxis={"title": "inner steps", "tick0": 0, "dtick": max(1, -(-last // TICKS))},
        yaxis_title=f"{metric}, mean and 95 % interval over episodes",
        template="plotly_white",
    )


def _complete(study: optuna.Study) -> list[FrozenTrial]:
    trials = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    return [trial for trial in trials if trial.value is not None and math.isfinite(trial.value)]

"""Pictures of how the best learners of a search do on meta-test episodes."""

from __future__ import annotations

import functools
import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pandas as pd
import torch

from algorithms.parts import noise
from episodes import DataError
from episodes.episode import Episodes, TaskDistribution
from search.distribution import distribution_of
from search.drawing import png
from search.errors import UserError
from search.evaluation import Learner
from search.prediction_drawing import Prediction, draw_predictions
from search.run_file import RunFile
from search.search_folder import SearchFolder
from search.training import restore_learners
from search.trial_folder import TrialFolder

EPISODES = range(2)
"""Of those that meta-test is measured on."""

PLACES = 200
"""At which a curve is drawn."""

log = logging.getLogger("metasweep")


def draw_best(
    folder: SearchFolder, board: pd.DataFrame, tracking_uri: str, results: Path
) -> dict[str, list[Path]]:
    """Draw the predictions of the best trials, as many as are confirmed, one at least.

    board: the search's leaderboard. results: gets a folder for each trial. Where the data are not
    at hand any more, it is only told that there are no pictures. Returns files by run id.
    """
    record = folder.read()
    best = max(1, int(record.spec["confirmation"]["best"]))
    trials = {
        run.id: path
        for path in sorted(folder.trials.glob("trial-*"))
        if (run := RunFile(path, tracking_uri).read()) is not None
    }
    files: dict[str, list[Path]] = {}
    for run_id in [str(run_id) for run_id in board["run_id"][:best] if run_id in trials]:
        own = TrialFolder(trials[run_id])
        try:
            files[run_id] = list(_draw(own, record.data, results / own.path.name))
        except (DataError, UserError) as error:
            log.warning("no pictures of %s: %s", own.path.name, error)
        except OSError:
            raise  # As of a full disk, which the search is told of.
        except Exception:
            # Whatever else it is, a picture never decides whether a search ends.
            log.exception("no pictures of %s", own.path.name)
    return files


def _draw(trial: TrialFolder, data: str | None, results: Path) -> Iterator[Path]:
    found = trial.newest_checkpoint()
    if found is None:
        return
    config = replace(found.config, device="cpu")
    distribution = distribution_of(config.problem, data)
    learners = restore_learners(config, distribution, found.snapshot)
    learner = learners[config.seed]
    named = getattr(distribution, "class_names", None)
    results.mkdir(parents=True, exist_ok=True)
    for index in EPISODES:
        episode = distribution.sample(
            "test", config.problem.evaluation_seed, range(index, index + 1)
        )
        figure = draw_predictions(
            episode,
            config.problem.kind,
            f"{trial.path.name}, {config.algorithm} {config.network}, meta-test episode {index}",
            predicted(learner, config.problem.evaluation_seed, episode, distribution),
            named("test") if named else (),
            getattr(distribution, "sentences", None),
        )
        if figure is not None:
            path = results / f"episode-{index}.png"
            path.write_bytes(png(figure))
            yield path


def predicted(
    learner: Learner, seed: int, episode: Episodes, distribution: TaskDistribution
) -> list[Prediction]:
    """Return what a learner predicts in an episode before adaptation and after it.

    seed: of the evaluation episodes. Only one prediction where there is no inner loop.
    """
    keys = noise.keys_of(seed, episode.index)
    steps = learner.steps if learner.algorithm.adapts else 0
    return [_predicted(learner, episode, keys, count, distribution) for count in sorted({0, steps})]


def _predicted(
    learner: Learner,
    episode: Episodes,
    keys: torch.Tensor,
    steps: int,
    distribution: TaskDistribution,
) -> Prediction:
    algorithm, loss = learner.algorithm, learner.loss
    when = "before adaptation" if algorithm.adapts else "prediction"
    if steps:
        when = "after 1 step" if steps == 1 else f"after {steps} steps"
    with torch.no_grad():
        adapted = algorithm.adapt(
            learner.meta, learner.state, learner.hyper, episode.support, steps, keys
        )
        outputs = algorithm.predict(learner.meta, learner.state, adapted, episode.query.inputs)
        targets = episode.query.targets
        if loss.score is not None:
            name = "IoU" if loss.name == "iou" else loss.name
            value = f"{name} {100 * float(loss.score(outputs, targets)):.0f} %"
        else:
            value = f"loss {float(loss.per_episode(outputs, targets)):.3g}"
        translate = getattr(distribution, "translate", None)
        if translate is not None:
            predict = functools.partial(algorithm.predict, learner.meta, learner.state, adapted)
            [texts] = translate(predict, episode.query.inputs)
            return Prediction(f"{when}: {value}", outputs, texts=texts)
        between = _between(episode)
        if between is None:
            return Prediction(f"{when}: {value}", outputs)
        curve = algorithm.predict(learner.meta, learner.state, adapted, between)
    return Prediction(f"{when}: {value}", outputs, between, curve)


def _between(episode: Episodes) -> torch.Tensor | None:
    """Return places (1, M, 1) from the smallest input to the largest, if inputs are numbers."""
    support, query = episode.support.inputs, episode.query.inputs
    if support[0, 0].numel() != 1 or episode.support.targets.dim() != 3:
        return None
    low, high = (float(bound) for bound in torch.cat([support, query], 1).aminmax())
    places = torch.linspace(low, high, PLACES, dtype=support.dtype)
    return places.reshape(1, PLACES, *support.shape[2:])

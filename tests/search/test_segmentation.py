"""Problems of masks on their way through a trial: measures, baselines, leaderboard."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

import networks
from algorithms import RecipeError
from episodes.iou import MASK_MEASURES
from episodes.labelled_images import VOID
from episodes.segmentation import MaskEpisodes, classes_of
from search import leaderboard_format
from search.baseline import KEYS, baseline
from search.building import build
from search.commands.evaluate import evaluate_checkpoint
from search.comparison import COUNTS
from search.config import Config, Problem
from search.drawing import png
from search.episode_checks import check_episodes
from search.episode_table import measures
from search.errors import UserError
from search.jobs import Progress
from search.leaderboard import Baseline, standing
from search.pictures import predicted
from search.prediction_drawing import draw_predictions
from search.run_job import run_job
from search.run_params import to_params
from search.training import meta_train, restore_learners
from search.trial_folder import TrialFolder
from search.try_out import check_outputs
from spaces.algorithms import ALGORITHM_SPACES, COMPOSED
from spaces.search_space import SearchSpace
from tests.episodes.masks import labelled
from tests.search.conftest import MakeRecords

SMALL = {"filters": 2, "depth": 1, "convolutions": 1}
MEASURES = sorted(MASK_MEASURES)


def source() -> MaskEpisodes:
    """Stripes of a class's own height, in green; the last column is of nothing."""
    labels = np.zeros((60, 8, 8), dtype=np.uint8)
    for i, one in enumerate(labels):
        one[i % 3 : i % 3 + 2 + i // 20] = 1 + i // 10
        one[:, -1] = VOID
    images = labelled(labels)
    names = {"train": range(1, 4), "validation": range(4, 6), "test": range(6, 7)}
    splits = {
        split: classes_of(images, {f"class {k}": k for k in classes}, np.arange(60))
        for split, classes in names.items()
    }
    return MaskEpisodes("stripes", images, splits, "stripes", 2, 2)  # type: ignore[arg-type]


def config(algorithm: str = "fomaml", **hyper: float) -> Config:
    problem = Problem(
        "stripes",
        "segmentation",
        shots=2,
        query_shots=2,
        rung_episodes=3,
        ranking_episodes=4,
        test_episodes=5,
    )
    learner = SearchSpace([algorithm], ["unet"], "segmentation").nearest_learner(algorithm, "unet")
    values = {**learner.hyper, "inner_steps_evaluation": 2, **hyper}
    return Config(problem, algorithm, "unet", values, {**learner.settings, **SMALL}, 16)


def run(folder: Path, of: Config) -> Progress:
    def publish(folder: TrialFolder, *, ended: bool) -> None:
        pass

    *_, last = run_job(of, source(), TrialFolder(folder), publish, by="a test")
    return last


@pytest.mark.parametrize("seeds", [1, 2])
def test_a_trial_records_what_masks_are_measured_by(tmp_path: Path, seeds: int) -> None:
    last = run(tmp_path, replace(config(), seeds=seeds))
    assert last.phase == "final", last.reason
    found = last.summaries
    assert 0 <= found["test_episode_fb_iou_mean"] <= 1
    table = TrialFolder(tmp_path).table()
    test = table[table["split"] == "test"]
    assert len(test) == 5 * seeds
    assert measures(table) == MEASURES
    overlaps = test[MEASURES]
    scores = overlaps["intersection"] / overlaps["union"]
    np.testing.assert_allclose(scores, test["score_after"], rtol=1e-6)
    # There is one class in meta-test.
    whole = overlaps["intersection"].sum() / overlaps["union"].sum()
    behind = overlaps["background_intersection"].sum() / overlaps["background_union"].sum()
    assert found["test_class_iou"] == pytest.approx(whole)
    assert found["test_fb_iou"] == pytest.approx((whole + behind) / 2)
    assert table[table["split"] != "test"][MEASURES].isna().all().all()


def test_a_task_of_a_users_own_may_measure_the_class_alone(make_records: MakeRecords) -> None:
    plain = make_records("test", range(2), 0)
    assert plain.pooled() == {}
    counts = {"intersection": np.array([1.0, 3.0]), "union": np.array([2.0, 3.0])}
    of_class = replace(plain, classes=np.array([[0], [1]]), measures=counts)
    assert of_class.pooled() == {"class_iou": (1 / 2 + 1) / 2}


def test_pixels_are_not_compared_as_if_more_were_better() -> None:
    assert {f"query_{name}" for name in MASK_MEASURES} - set(COUNTS) == {"query_episode_fb_iou"}


def test_evaluate_prints_what_papers_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    last = run(tmp_path, config())
    monkeypatch.setattr("search.distribution.distribution_of", lambda *_: source())
    monkeypatch.setattr("search.checkpoint_checks.checked_config", lambda _, found: found.config)
    evaluate_checkpoint(tmp_path, episodes=5)
    printed = capsys.readouterr().out
    for name in ("class_iou", "fb_iou"):
        assert f"  {name} {last.summaries[f'test_{name}']:.4f}, mean " in printed


@pytest.mark.parametrize("algorithm", ["maml", "pretrain"])
def test_training_lowers_the_loss(algorithm: str) -> None:
    """Not far, in so few steps: that is the ready-made search's to show."""
    of = replace(config(algorithm, outer_lr=0.01, meta_batch_size=4), episodes=160)
    records = [part for report in meta_train(of, source()) for part in report.records]
    losses = np.concatenate([part.loss_after for part in records if part.split[0] == "train"])
    assert losses[-40:].mean() < 0.8 * losses[:20].mean()


@pytest.mark.parametrize(
    "algorithm", [n for n, s in ALGORITHM_SPACES.items() if "segmentation" in s.defaults]
)
def test_every_algorithm_takes_masks_at_its_defaults(algorithm: str) -> None:
    of = config(algorithm)
    # Enough of steps and of columns to see that they fit.
    small = {"context_size": 3, "cg_steps": 2, "inner_steps": 2, "meta_batch_size": 4}
    hyper = {**of.hyper, **{name: v for name, v in small.items() if name in of.hyper}}
    *_, last = meta_train(replace(of, hyper=hyper, episodes=8), source())
    assert last.phase == "final"
    assert last.validation is not None
    assert 0 <= last.validation.mean <= 1


@pytest.mark.parametrize("recipe", [*COMPOSED.points])
def test_every_named_recipe_takes_masks_but_the_one_with_prototypes(recipe: str) -> None:
    point = COMPOSED.points[recipe].get("segmentation")
    assert (point is None) == (recipe == "proto-maml")
    if point is not None:
        of = replace(config("composed"), hyper={**COMPOSED.defaults["segmentation"], **point})
        assert build(of, source())[0].adapts


def test_two_do_not_learn() -> None:
    problem, drawn = config().problem, source()
    found = baseline(problem, drawn)
    assert set(found) == set(KEYS)
    shares = []
    for index in range(problem.test_episodes):
        targets = drawn.sample("test", 0, range(index, index + 1)).query.targets
        shares.append(float((targets == 1).sum() / (targets >= 0).sum()))
    assert found["test_baseline"] == pytest.approx(np.mean(shares))
    assert found["test_baseline_background"] == found["validation_baseline_background"] == 0


def test_both_stand_below_the_leaderboard() -> None:
    of = config()
    numbers = {f"{split}_baseline": 0.25 for split in ("validation", "test")}
    numbers |= {f"{split}_baseline_background": 0.0 for split in ("validation", "test")}
    row = {
        **{"run_id": "a", "started": 0, "kind": "trial", "search": "s", "trial": 0},
        **{"state": "COMPLETE", "reason": "", "problem_hash": of.problem.hash, "of_run": ""},
        "published": False,
        **{"algorithm": "fomaml", "network": "unet", "seed": 0, "params": to_params(of)},
        **{f"{split}_{part}": 0.5 for split in ("validation", "test") for part in ("mean", "n")},
        **{
            f"{split}_ci95_{end}": 0.5
            for split in ("validation", "test")
            for end in ("low", "high")
        },
        **{"episodes": 16.0, "train_seconds": 1.0, "peak_memory_mb": 1.0, "adaptation_ms": 1.0},
        **numbers,
    }
    found = standing(pd.DataFrame([row]), "s")
    assert found.baselines == (
        Baseline("all class", 0.25, 0.25),
        Baseline("all background", 0.0, 0.0),
    )
    console = Console(width=140, record=True, quiet=False)
    with console.capture() as captured:
        leaderboard_format.print_table(found.ranked, console, found.baselines)
    lines = [line.split() for line in captured.get().splitlines()]
    assert ["-", "all", "class", "25", "25"] in lines
    assert ["-", "all", "background", "0", "0"] in lines
    assert lines.index(["-", "all", "class", "25", "25"]) < lines.index(
        ["-", "all", "background", "0", "0"]
    )
    text = leaderboard_format.to_json(found.ranked, found.failed, found.baselines)
    assert '"weaker_baselines": [\n    {\n      "name": "all background"' in text


def test_episodes_of_masks_are_checked() -> None:
    problem, drawn = config().problem, source()
    check_episodes(problem, drawn)
    drawn.outputs = 1
    with pytest.raises(UserError, match="outputs: 1: must be 2, for background and class"):
        check_episodes(problem, drawn)


def test_a_network_must_have_an_output_for_each_pixel() -> None:
    drawn = source()
    check_outputs(networks.build("unet", drawn.input_shape, 2, SMALL), drawn)
    with pytest.raises(UserError, match=r"must be \(2, 3, 8, 8, 2\): \(episodes, examples, height"):
        check_outputs(networks.build("conv4", drawn.input_shape, 2, {}), drawn)


def test_prototypes_are_refused_before_any_compute() -> None:
    of = config("composed")
    with pytest.raises(RecipeError, match="head: 'prototypes': needs classes to tell apart"):
        build(replace(of, hyper={**of.hyper, "head": "prototypes"}), source())


def test_pictures_tell_of_the_masks_that_were_measured() -> None:
    tasks, of = source(), config()
    *_, last = meta_train(of, tasks)
    learner = restore_learners(of, tasks, last.snapshot)[of.seed]
    seed, test = of.problem.evaluation_seed, last.records[1]
    for index in range(2):
        episode = tasks.sample("test", seed, range(index, index + 1))
        found = predicted(learner, seed, episode, tasks)
        measured = test.score_before[index], test.score_after[index]
        whens = ("before adaptation", "after 2 steps")
        assert [each.title for each in found] == [
            f"{when}: IoU {100 * float(score):.0f} %"
            for when, score in zip(whens, measured, strict=True)
        ]
        figure = draw_predictions(
            episode, "segmentation", "masks", found, tasks.class_names("test")
        )
        assert figure is not None
        assert len(png(figure)) > 1000

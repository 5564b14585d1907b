"""Replicas: a configuration with several seeds is so many single runs, trained as one batch."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from algorithms.engine import Formulation
from episodes.episode import Episodes, Kind, Split
from search import training
from search.config import Config
from search.episode_metrics import episode_metrics
from search.episode_table import read, to_parquet
from search.evaluation import evaluate
from search.outer_loop import OuterLoop
from search.records import EpisodeRecords, concatenate, interval
from search.training import Report, meta_train, restore_learners
from tests.search.conftest import MakeRecords
from tests.search.small_runs import RANKING, TEST, NoisyPrototypes, distribution, small_config
from tests.search.test_training import assert_same_run, column

SEEDS = (1, 2, 3)
LEARNERS: list[tuple[str, Kind]] = [
    ("maml", "regression"),
    ("mt-net", "regression"),
    ("reptile", "regression"),
    ("pretrain", "regression"),
    ("composed", "regression"),
    ("maml", "classification"),
    ("mamlpp", "classification"),
    ("cavia", "classification"),
    ("prototypical", "classification"),
    ("pretrain", "classification"),
]
FORMULATIONS = [
    Formulation(4, together=1),
    Formulation(64, together=10),
    Formulation(64, False, 64),
]
ROUNDING = {"rtol": 2e-3, "atol": 2e-4}

learners = pytest.mark.parametrize(("algorithm", "kind"), LEARNERS)


def several(algorithm: str, kind: Kind, **changes: Any) -> Config:
    return small_config(algorithm, kind, seeds=len(SEEDS), seed=SEEDS[0], **changes)


def run(config: Config) -> list[Report]:
    return list(meta_train(config, distribution(config.problem.kind)))


def of_seed(reports: list[Report], split: str, name: str, seed: int) -> np.ndarray:
    return column(reports, split, name)[column(reports, split, "seed") == seed]


def rows_of(report: Report, split: str) -> EpisodeRecords:
    return next(part for part in report.records if (part.split == split).all())


@pytest.mark.parametrize("formulation", FORMULATIONS, ids=lambda f: f"{f.chunk}-{f.together}")
@learners
def test_each_replica_is_the_run_of_its_seed(
    algorithm: str, kind: Kind, formulation: Formulation
) -> None:
    config = several(algorithm, kind, formulation=formulation.to_dict())
    together = run(config)
    alone = {seed: run(replace(config, seed=seed, seeds=1)) for seed in SEEDS}
    for place, seed in enumerate(SEEDS):
        for split in ("train", "rung", "validation", "test"):
            for name in ("index", "episodes_seen", "loss_after", "score_after", "classes"):
                ours = of_seed(together, split, name, seed)
                assert len(ours)
                np.testing.assert_allclose(
                    ours, column(alone[seed], split, name), err_msg=f"{split} {name}", **ROUNDING
                )
        expected = alone[seed][-1].snapshot.tensors
        found = together[-1].snapshot.tensors
        assert found.keys() == expected.keys()
        for name, value in expected.items():
            own = found[name] if name.startswith("optimizer/step/") else found[name][place]
            torch.testing.assert_close(own, value, msg=lambda m, n=name: f"{n}: {m}", **ROUNDING)
    losses = [of_seed(together, "test", "loss_after", seed) for seed in SEEDS]
    assert not np.isclose(losses[0], losses[1], **ROUNDING).all()
    assert not np.isclose(losses[1], losses[2], **ROUNDING).all()


@learners
def test_a_resumed_training_of_replicas_is_the_uninterrupted_one(
    algorithm: str, kind: Kind, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "REPORT_SECONDS", 0.0)
    config = several(algorithm, kind)
    uninterrupted = run(config)
    for i, report in enumerate(uninterrupted):
        resumed = meta_train(config, distribution(kind), report.snapshot)
        assert_same_run(list(resumed), uninterrupted[i + 1 :])


@pytest.mark.parametrize("kind", ["regression", "classification"])
def test_a_report_summarizes_the_means_of_episodes(kind: Kind) -> None:
    config = several("maml", kind)
    final = run(config)[-1]
    column_name = "loss_after" if kind == "regression" else "score_after"
    for split, found, count in (
        ("validation", final.validation, RANKING),
        ("test", final.test, TEST),
    ):
        rows = rows_of(final, split)
        assert rows.seed.tolist() == [seed for seed in SEEDS for _ in range(count)]
        values = getattr(rows, column_name)
        means = [values[rows.index == index].mean() for index in sorted(set(rows.index))]
        expected = interval(np.array(means))
        assert found is not None
        assert found.n == expected.n == count
        assert found.mean == pytest.approx(expected.mean)
        assert found.ci95_low == pytest.approx(expected.ci95_low)
    history = final.snapshot.state["history"]
    assert history[-1]["value"] == pytest.approx(final.validation.mean)  # type: ignore[union-attr]


def test_restored_learners_are_those_that_were_judged() -> None:
    config = several("mamlpp", "classification")
    final = run(config)[-1]
    restored = restore_learners(config, distribution("classification"), final.snapshot)
    assert list(restored) == list(SEEDS)
    for seed, learner in restored.items():
        records = evaluate(
            learner,
            distribution("classification"),
            config.problem,
            "test",
            Formulation.from_dict(final.snapshot.state["formulation"]),
            device=torch.device("cpu"),
            episodes_seen=config.episodes,
            seed=seed,
        )
        expected = rows_of(final, "test")
        np.testing.assert_array_equal(
            records.loss_curve, expected.loss_curve[expected.seed == seed]
        )


def test_the_table_and_the_metrics_of_replicas(
    tmp_path: Path, config: Config, make_records: MakeRecords
) -> None:
    config = replace(config, seed=7, seeds=2)
    parts = [
        make_records(split, indices, seen, seed=seed)
        for seed in (7, 8)
        for split, indices, seen in (
            ("train", range(3), 3),
            ("rung", range(4), 300),
            ("validation", range(4, 10), 900),
        )
    ]
    path = tmp_path / "episodes.parquet"
    path.write_bytes(to_parquet(parts))
    table = read([path])
    assert table["seed"].tolist() == [7] * 13 + [8] * 13
    metrics = list(episode_metrics(table, config))
    keys = [(row.key, row.step) for row in metrics]
    assert len(keys) == len(set(keys))
    values = {(row.key, row.step): row.value for row in metrics}
    # The second of two rungs has episodes 4 to 7 of the rungs' steps.
    assert {step for key, step in values if key == "episode/rung/query_loss_after"} == {4, 5, 6, 7}
    for split, first, seen in (("rung", 4, 300), ("validation", 0, 900)):
        both = [part for part in parts if part.split[0] == split]
        for i, index in enumerate(both[0].index):
            expected = np.mean([part.loss_after[i] for part in both])
            assert values["episode/" + split + "/query_loss_after", index + first] == expected
        mean = np.mean([part.loss_after for part in both])
        assert values["validation/query_loss", seen] == pytest.approx(mean)
    for i in range(3):
        expected = np.mean([part.loss_after[i] for part in parts if part.split[0] == "train"])
        assert values["episode/train/query_loss", i] == expected


def test_an_episode_that_one_replica_has_no_number_for_has_no_mean(
    tmp_path: Path, config: Config, make_records: MakeRecords
) -> None:
    parts = [make_records("validation", range(4, 10), 900, seed=seed) for seed in (7, 8)]
    parts[1].loss_after[2] = np.nan
    path = tmp_path / "episodes.parquet"
    path.write_bytes(to_parquet(parts))
    rows = list(episode_metrics(read([path]), replace(config, seeds=2)))
    key = "episode/validation/query_loss_after"
    assert [row.step for row in rows if row.key == key] == [4, 5, 7, 8, 9]
    assert not [row for row in rows if row.key == "validation/query_loss"]


def test_the_metric_of_records_is_a_mean_over_seeds_by_index(make_records: MakeRecords) -> None:
    parts = [make_records("test", range(5), 900, seed=seed) for seed in (7, 8, 9)]
    expected = np.mean([part.loss_after for part in parts], axis=0)
    joined = concatenate(parts)
    np.testing.assert_allclose(joined.metric("query_loss"), expected, rtol=1e-12)
    np.testing.assert_array_equal(parts[1].metric("query_loss"), parts[1].loss_after)


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd", "momentum"])
def test_every_replica_is_clipped_and_decays_as_if_alone(optimizer: str) -> None:
    hyper = {
        "outer_lr": 0.1,
        "outer_optimizer": optimizer,
        "outer_schedule": "linear",
        "clip_norm": 1.0,
        "weight_decay": 0.05,
    }
    rng = torch.Generator().manual_seed(0)
    # Single numbers and matrices; only the second replica's gradient is long enough to be cut.
    shapes = {"w": (3, 2, 4), "rate": (3,)}
    start = {name: torch.randn(shape, generator=rng) for name, shape in shapes.items()}
    stacked = {name: value.clone() for name, value in start.items()}
    outer = OuterLoop(stacked, hyper, replicas=3)
    alone = [{name: value[i].clone() for name, value in start.items()} for i in range(3)]
    outers = [OuterLoop(meta, hyper) for meta in alone]
    lengths = torch.tensor([0.01, 100.0, 0.05])
    for step in range(3):
        gradient = {name: torch.randn(shape, generator=rng) for name, shape in shapes.items()}
        for name, value in gradient.items():
            gradient[name] = value * lengths.view(3, *[1] * (value.dim() - 1))
        outer.step({name: value.clone() for name, value in gradient.items()}, step / 3)
        for i, each in enumerate(outers):
            each.step({name: value[i].clone() for name, value in gradient.items()}, step / 3)
    for i, meta in enumerate(alone):
        for name, value in meta.items():
            torch.testing.assert_close(stacked[name][i], value, rtol=1e-5, atol=1e-6)


class NoNumbersForOneSeed(NoisyPrototypes):
    """The training images of one learner are not numbers from its episode 10 on."""

    def sample(self, split: Split, seed: int, indices: np.ndarray | range) -> Episodes:
        episodes = super().sample(split, seed, indices)
        if split == "train" and seed == SEEDS[1]:
            episodes.query.inputs[episodes.index >= 10] = np.nan
        return episodes


def test_the_divergence_of_one_replica_ends_the_trial(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "REPORT_SECONDS", 0.0)
    config = several("maml", "classification", rungs=())
    reports = list(meta_train(config, NoNumbersForOneSeed()))
    last = reports[-1]
    assert last.phase == "diverged"
    assert last.reason == "training loss is nan at episode 10"
    assert last.episodes < config.episodes
    losses = {seed: of_seed(reports, "train", "loss_after", seed) for seed in SEEDS}
    assert np.isfinite(losses[1]).all()
    assert np.isfinite(losses[3]).all()
    assert np.isnan(losses[2]).any()

"""Every algorithm for translation trains on sentences, and meta-test has BLEU and chrF."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from episodes import load
from episodes.episode import TaskDistribution
from networks import build
from search.baseline import baseline
from search.config import Config, Problem
from search.drawing import png
from search.errors import UserError
from search.pictures import predicted
from search.prediction_drawing import draw_predictions
from search.training import Report, meta_train, restore_learners
from search.try_out import check_outputs
from spaces.algorithms import ALGORITHM_SPACES
from spaces.space import Values

WORDS = ("one", "two", "red", "cat", "dog", "sun", "sea", "ice")
LANGUAGES = ("aaa", "bbb", "ccc", "ddd")
NETWORK = {"width": 16, "depth": 1, "heads": 2, "expansion": 2, "activation": "relu", "tied": True}
TRANSLATING = [name for name, space in ALGORITHM_SPACES.items() if "translation" in space.defaults]


@pytest.fixture
def task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TaskDistribution:
    """Two words, in English and in languages that turn each letter into another one."""
    monkeypatch.setenv("METASWEEP_CACHE", str(tmp_path / "cache"))
    pairs = [f"{one} {other}" for one in WORDS for other in WORDS]
    for number, language in enumerate(LANGUAGES):
        own = pairs[number::4]
        shift = str.maketrans({chr(97 + n): chr(97 + (n + number + 1) % 26) for n in range(26)})
        lines = [f"{english}\t{english.translate(shift)}" for english in own]
        (tmp_path / f"{language}.txt").write_text("\n".join(lines))
    options = {
        "folder": tmp_path,
        "train_languages": ["aaa", "bbb"],
        "validation_languages": ["ccc"],
        "test_languages": ["ddd"],
        "vocabulary": 300,
        "longest": 10,
    }
    return load("translation", shots=4, query_shots=4, options=options)


def config_of(algorithm: str, universal: int = 0, **changes: object) -> Config:
    problem = Problem(
        *("translation", "translation"),
        *(4, 4),
        rung_episodes=2,
        ranking_episodes=3,
        test_episodes=3,
    )
    defaults: Values = ALGORITHM_SPACES[algorithm].defaults["translation"]
    hyper = {**defaults, "meta_batch_size": 2, "inner_steps_evaluation": 2, **changes}
    settings = {**NETWORK, "universal": universal}
    return Config(problem, algorithm, "transformer", hyper, settings, episodes=4)


def trained(task: TaskDistribution, *of: str, **changes: object) -> Report:
    *_, last = meta_train(config_of(*of, **changes), task)
    return last


@pytest.mark.parametrize("algorithm", TRANSLATING)
def test_it_trains_and_is_measured(task: TaskDistribution, algorithm: str) -> None:
    last = trained(task, algorithm)
    assert last.phase == "final"
    assert last.validation is not None
    assert math.isfinite(last.validation.mean)
    validation, test = last.records
    assert not validation.measures
    assert list(test.measures) == ["bleu", "chrf"]
    for values in test.measures.values():
        assert values.shape == (3,)
        assert ((values >= 0) & (values <= 100)).all()
    assert np.array_equal(test.classes, np.zeros((3, 1)))


def test_scratch_learns_from_the_support_set_alone(task: TaskDistribution) -> None:
    last = trained(task, "scratch", inner_steps_evaluation=10, inner_lr=0.01)
    learned = last.snapshot.tensors["meta/embedding.table"]
    again = trained(task, "scratch").snapshot.tensors["meta/embedding.table"]
    assert torch.equal(learned, again)
    assert (last.records[1].loss_after < last.records[1].loss_before - 0.5).all()


def test_an_inner_loop_may_adapt_the_lexicon_of_a_language_alone(task: TaskDistribution) -> None:
    last = trained(task, "composed", universal=4, adapts="source", inner_lr=1.0)
    assert last.phase == "final"
    assert (last.records[1].loss_after != last.records[1].loss_before).all()


def test_a_network_of_a_users_own_is_tried_on_sentences(task: TaskDistribution) -> None:
    network = build("transformer", task.input_shape, task.outputs, NETWORK)
    check_outputs(network, task)
    wrong = replace(network, head=lambda params, hidden: hidden)
    with pytest.raises(UserError, match=r"must be \(2, 1, \d+, 300\): \(episodes, examples, symb"):
        check_outputs(wrong, task)


def test_the_baseline_predicts_by_frequency(task: TaskDistribution) -> None:
    problem = Problem(
        "translation", "translation", 4, 4, rung_episodes=1, ranking_episodes=2, test_episodes=2
    )
    found = baseline(problem, task)
    losses = []
    for index in (1, 2):
        episode = task.sample("validation", 0, range(index, index + 1))
        support = [s for row in episode.support.targets[0].tolist() for s in row if s >= 0]
        query = [s for row in episode.query.targets[0].tolist() for s in row if s >= 0]
        chances = [support.count(s) / len(support) / 2 + 1 / task.outputs / 2 for s in query]
        losses.append(-sum(map(math.log, chances)) / len(query))
    assert found["validation_baseline"] == pytest.approx(sum(losses) / 2)
    assert found["test_baseline"] < math.log(task.outputs)


def test_pictures_tell_of_the_translations_that_were_measured(task: TaskDistribution) -> None:
    config = config_of("fomaml")
    *_, last = meta_train(config, task)
    learner, seed = restore_learners(config, task, last.snapshot)[config.seed], 0
    assert seed == config.problem.evaluation_seed
    test = last.records[1]
    episode = task.sample("test", seed, range(1, 2))
    found = predicted(learner, seed, episode, task)
    assert [each.title for each in found] == [
        f"before adaptation: loss {test.loss_before[1]:.3g}",
        f"after 2 steps: loss {test.loss_after[1]:.3g}",
    ]
    made = [replace(each, texts=[f"{n} {each.title}" for n in range(4)]) for each in found]
    assert [len(each.texts or []) for each in found] == [4, 4]
    figure = draw_predictions(
        episode, "translation", "", made, task.class_names("test"), task.sentences
    )
    assert figure is not None
    texts = [text.get_text() for text in figure.axes[0].texts]
    rows = [texts[first : first + 4] for first in range(0, len(texts), 4)]
    [support], [query] = task.sentences(episode.support), task.sentences(episode.query)
    assert [tuple(row[:2]) for row in rows[1:5]] == support
    assert [tuple(row[:2]) for row in rows[-4:]] == query
    assert [row[2:] for row in rows[-4:]] == [[each.texts[n] for each in made] for n in range(4)]
    assert len(png(figure)) > 1000

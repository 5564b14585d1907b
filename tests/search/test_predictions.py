"""Pictures of what is predicted in an episode, before and after adaptation."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from matplotlib.text import Text

from algorithms.engine import Formulation
from episodes import load
from episodes.episode import Episodes, Examples
from search.config import Config
from search.drawing import draw_episode, png
from search.evaluation import Learner, evaluate
from search.pictures import PLACES, predicted
from search.prediction_drawing import RIGHT, WRONG, Prediction, draw_predictions
from search.training import meta_train, restore_learners
from tests.search.small_runs import distribution, small_config


def learner_of(config: Config) -> Learner:
    tasks = distribution(config.problem.kind)
    *_, last = meta_train(config, tasks)
    return restore_learners(config, tasks, last.snapshot)[config.seed]


def episode_of(config: Config, index: int) -> Episodes:
    tasks = distribution(config.problem.kind)
    return tasks.sample("test", config.problem.evaluation_seed, range(index, index + 1))


def test_what_is_drawn_is_what_is_measured() -> None:
    config = small_config()
    learner, episode = learner_of(config), episode_of(config, 1)
    before, after = predicted(
        learner, config.problem.evaluation_seed, episode, distribution("regression")
    )
    measured = evaluate(
        learner,
        distribution("regression"),
        config.problem,
        "test",
        Formulation(8),
        device=torch.device("cpu"),
        episodes_seen=24,
        seed=1,
        episodes=range(1, 2),
    )
    assert before.title == f"before adaptation: loss {measured.loss_before[0]:.3g}"
    assert after.title == f"after 3 steps: loss {measured.loss_after[0]:.3g}"
    assert after.curve is not None
    assert after.inputs is not None
    assert after.curve.shape == after.inputs.shape == (1, PLACES, 1)
    places = episode.query.inputs[0, :, 0].numpy()
    between = np.interp(places, after.inputs[0, :, 0], after.curve[0, :, 0])
    np.testing.assert_allclose(between, after.outputs[0, :, 0], atol=0.02)
    figure = draw_predictions(episode, "regression", "curves", [before, after])
    assert figure is not None
    [ax] = figure.axes
    labels = [line.get_label() for line in ax.get_lines()]
    assert labels == [before.title, after.title, "query", "support"]
    np.testing.assert_array_equal(ax.get_lines()[1].get_ydata(), after.curve[0, :, 0])


def test_frames_tell_which_images_are_recognized() -> None:
    config = small_config("prototypical", "classification")
    episode = episode_of(config, 0)
    [prediction] = predicted(
        learner_of(config), config.problem.evaluation_seed, episode, distribution("classification")
    )
    right = (prediction.outputs[0].argmax(-1) == episode.query.targets[0]).tolist()
    assert prediction.title == f"prediction: accuracy {100 * np.mean(right):.0f} %"
    only_the_last = torch.zeros(1, 6, 3)
    only_the_last[0, :, 2] = 1.0
    names = [f"kind {id}" for id in range(6)]
    figure = draw_predictions(
        episode, "classification", "images", [Prediction("last", only_the_last)], names
    )
    assert figure is not None
    support, last = figure.axes
    shown = [text.get_text() for text in support.get_yticklabels()]
    assert shown == [f"{label}: kind {id}" for label, id in enumerate(episode.classes[0].tolist())]
    [image] = last.images
    pixels = np.asarray(image.get_array())
    # Two images of 8 x 8 for each of three labels, within frames of 2 and gaps of 2.
    corners = pixels[0 :: 8 + 4 + 2, 0 :: 8 + 4 + 2]
    expected = [[WRONG, WRONG], [WRONG, WRONG], [RIGHT, RIGHT]]
    np.testing.assert_allclose(corners, expected)


def test_points_that_are_not_recognized_are_crosses() -> None:
    points = torch.tensor([[[0.0, 0.0], [1.0, 1.0], [2.0, 0.5]]])
    labels = torch.tensor([[0, 1, 1]])
    classes, index = torch.tensor([[4, 2]]), torch.tensor([0])
    episode = Episodes(Examples(points, labels), Examples(points, labels), classes, index)
    outputs = torch.tensor([[[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]]])
    figure = draw_predictions(episode, "classification", "", [Prediction("after", outputs)])
    assert figure is not None
    drawn = [len(part.get_offsets()) for part in figure.axes[1].collections]
    # Right and wrong ones that were taken for label 0, then those taken for label 1.
    assert drawn == [1, 1, 1, 0]


@pytest.mark.parametrize("dimensions", [1, 2])
def test_where_inputs_are_many_predictions_are_drawn_over_the_truth(dimensions: int) -> None:
    rng = torch.Generator().manual_seed(0)
    parts = [
        Examples(torch.rand(1, 7, 3, generator=rng), torch.rand(1, 7, dimensions, generator=rng))
        for _ in range(2)
    ]
    nothing = torch.empty(1, 0, dtype=torch.int64)
    episode = Episodes(parts[0], parts[1], nothing, torch.tensor([0]))
    outputs = torch.rand(1, 7, dimensions, generator=rng)
    figure = draw_predictions(episode, "regression", "", [Prediction("after", outputs)])
    assert figure is not None
    assert len(figure.axes) == dimensions
    after, line = figure.axes[-1].get_lines()
    np.testing.assert_array_equal(after.get_xdata(), episode.query.targets[0, :, -1])
    np.testing.assert_array_equal(after.get_ydata(), outputs[0, :, -1])
    assert line.get_label() == "query"
    np.testing.assert_array_equal(line.get_xdata(), line.get_ydata())


def test_every_curve_has_its_places() -> None:
    config = small_config()
    tasks = load("harmonic", shots=5, query_shots=5)
    episode = tasks.sample("test", 0, range(1))
    low, high = (
        getattr(torch.cat([episode.support.inputs, episode.query.inputs], 1), bound)().item()
        for bound in ("min", "max")
    )
    [_, after] = predicted(learner_of(config), 0, episode, tasks)
    assert after.inputs is not None
    assert after.inputs[0, 0].item() == pytest.approx(low)
    assert after.inputs[0, -1].item() == pytest.approx(high)


def test_predicted_masks_lie_over_the_query_images() -> None:
    images = torch.full((1, 2, 3, 6, 6), 0.5)
    wanted = torch.zeros(1, 2, 6, 6, dtype=torch.int64)
    wanted[0, 0, :3] = 1
    classes, index = torch.tensor([[1]]), torch.tensor([0])
    part = Examples(images, wanted)
    episode = Episodes(part, part, classes, index)
    outputs = torch.zeros(1, 2, 6, 6, 2)
    outputs[0, 1, 0, :, 1] = 1.0
    names = ["sky", "road"]
    figure = draw_predictions(episode, "segmentation", "", [Prediction("after", outputs)], names)
    assert figure is not None
    support, query, after = figure.axes
    assert [text.get_text() for text in support.get_yticklabels()] == ["image", "road"]
    assert [ax.get_title() for ax in (query, after)] == ["query", "after"]
    pixels = np.asarray(after.images[0].get_array())
    first, second = pixels[:6, :6], pixels[:6, 8:14]
    np.testing.assert_allclose(first, 0.5)
    marked = second[..., 0] != second[..., 1]
    assert marked[0].all()
    assert not marked[1:].any()


def test_translations_stand_beside_what_was_wanted() -> None:
    symbols = torch.tensor([[[5, 7, 2, 0], [9, 2, 0, 0]]])
    part = Examples(symbols, symbols)
    episode = Episodes(part, part, torch.tensor([[1]]), torch.tensor([0]))
    outputs = torch.zeros(1, 2, 4, 10)
    made = [
        Prediction("before", outputs, texts=["", "Tom."]),
        Prediction("after", outputs, texts=["Hello.", "Tom!"]),
    ]

    def sentences(examples: Examples) -> list[list[tuple[str, str]]]:
        return [[("Labdien!", "Hello."), ("Toms.", "Tom.")]]

    figure = draw_predictions(episode, "translation", "", made, ["ron", "lvs"], sentences)
    assert figure is not None
    texts = [text.get_text() for text in figure.axes[0].texts]
    support, shown = texts[:16], texts[16:]
    assert support[:4] == ["support: lvs", "English", " ", " "]
    assert support[4:] == ["Labdien!", "Hello.", " ", " ", "Toms.", "Tom.", *6 * [" "]]
    assert shown[:4] == ["query: lvs", "English", "before", "after"]
    assert shown[4:8] == ["Labdien!", "Hello.", " ", "Hello."]
    assert shown[8:] == ["Toms.", "Tom.", "Tom.", "Tom!"]


def test_names_are_no_formulas() -> None:
    config = small_config("prototypical", "classification")
    episode = episode_of(config, 0)
    [prediction] = predicted(
        learner_of(config), config.problem.evaluation_seed, episode, distribution("classification")
    )
    for name in ("$70_to_$75", "US$ and CA$"):
        names = [name] * 6
        drawn = draw_predictions(episode, "classification", name, [prediction], names)
        assert drawn is not None
        figures = [drawn, draw_episode(episode, "classification", name, names)]
        for figure in figures:
            assert len(png(figure)) > 1000
            texts = figure.findobj(Text)
            assert not any(text.get_parse_math() for text in texts if "$" in text.get_text())
            assert any(name in text.get_text() for text in texts)

from __future__ import annotations

import numpy as np
import pytest
import torch

from episodes import load
from episodes.class_splits import read_class_split


def test_shapes_and_attributes(omniglot):
    episodes = omniglot.sample("train", 0, range(3))
    assert episodes.support.inputs.shape == (3, 5, 1, 28, 28)
    assert episodes.query.inputs.shape == (3, 75, 1, 28, 28)
    assert episodes.support.inputs.dtype == torch.float32
    assert episodes.classes.shape == (3, 5)
    assert episodes.classes.dtype == episodes.query.targets.dtype == torch.int64
    assert episodes.support.targets.tolist() == [[0, 1, 2, 3, 4]] * 3
    assert episodes.query.targets[1].bincount().tolist() == [15] * 5
    assert (omniglot.kind, omniglot.input_shape, omniglot.outputs) == (
        "classification",
        (1, 28, 28),
        5,
    )


def test_class_counts_are_the_published_ones(omniglot, omniglot_lake):
    assert omniglot.train_classes == 1028 * 4 == 4112
    assert omniglot.class_counts == {"train": 4112, "validation": 688, "test": 1692}
    assert omniglot_lake.train_classes == 883 * 4
    assert omniglot_lake.class_counts["test"] == 659 * 4
    assert omniglot.digest != omniglot_lake.digest


def test_strokes_are_one_on_a_background_of_zero(omniglot):
    inputs = omniglot.sample("train", 0, range(20)).query.inputs
    assert inputs.min() == 0
    assert inputs.max() > 0.9
    assert 0.02 < inputs.mean() < 0.2
    assert (inputs[:, :, :, 0, :] == 0).float().mean() > 0.8  # strokes seldom touch the border


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_examples_belong_to_the_class_and_split_that_is_said(omniglot, split):
    """Look every drawn image up in pixels that this test orders and rotates by itself."""
    rows = omniglot._pixels.reshape(1623, 4, 20, 28, 28)
    names = sorted(
        character
        for characters in read_class_split("omniglot", "vinyals").characters.values()
        for character in characters
    )
    of_split = sorted(read_class_split("omniglot", "vinyals").characters[split])
    episodes = omniglot.sample(split, 2, range(6))
    for t in range(6):
        for label, class_id in enumerate(episodes.classes[t].tolist()):
            upright = rows[names.index(of_split[class_id // 4]), 0]
            expected = np.rot90(upright, class_id % 4, axes=(1, 2)).reshape(20, 784)
            mine = torch.cat(
                [
                    examples.inputs[t][examples.targets[t] == label]
                    for examples in (episodes.support, episodes.query)
                ]
            )
            drawn = (mine * 255).round().to(torch.uint8).numpy().reshape(16, 784)
            positions = [np.flatnonzero((expected == image).all(axis=1)) for image in drawn]
            assert all(len(position) for position in positions)
            # Support and query are different drawings.
            assert len({int(position[0]) for position in positions}) == 16


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_classes_are_named_by_alphabet_character_and_rotation(omniglot, split):
    names = omniglot.class_names(split)
    assert len(names) == len(set(names)) == omniglot.class_counts[split]
    alphabet, number = sorted(read_class_split("omniglot", "vinyals").characters[split])[0]
    first = f"{alphabet} {number}"
    assert names[:4] == (
        first,
        f"{first}, turned 90",
        f"{first}, turned 180",
        f"{first}, turned 270",
    )


def test_every_drawing_can_be_asked_for(omniglot, data_folder, shared_cache):
    whole = load("omniglot", ways=2, shots=5, query_shots=15, data=data_folder)
    episodes = whole.sample("test", 0, range(8))
    for t in range(8):
        for label in range(2):
            images = torch.cat([episodes.support.inputs[t], episodes.query.inputs[t]])
            labels = torch.cat([episodes.support.targets[t], episodes.query.targets[t]])
            assert len(images[labels == label].unique(dim=0)) == 20


def test_classes_are_distinct_and_drawn_evenly(omniglot):
    classes = omniglot.sample("validation", 0, range(2000)).classes.numpy()
    assert all(len(set(row)) == 5 for row in classes.tolist())
    for drawn in (classes, classes[:, :1]):  # overall, and as label 0
        counts = np.bincount(drawn.ravel(), minlength=688)
        expected = counts.sum() / 688
        statistic = float(((counts - expected) ** 2 / expected).sum())
        assert abs(statistic - 687) < 5 * np.sqrt(2 * 687)

from __future__ import annotations

import numpy as np
import pytest
import torch

from episodes.class_images import ClassImages, ImageEpisodes, StoredPixels, Wanted, class_images
from episodes.episode import Split
from episodes.errors import DataError

COUNTS = {"ant": 6, "bee": 9, "cat": 7, "dog": 6, "eel": 8, "fox": 30}
SPLITS: dict[Split, list[str]] = {
    "train": ["fox", "bee"],
    "validation": ["eel", "ant"],
    "test": ["dog", "cat"],
}


def pixels_of(name: str, image: int) -> np.ndarray:
    """An image that tells which it is: its class in red, its number in green, a gradient."""
    pixels = np.zeros((3, 4, 4), dtype=np.uint8)
    pixels[0], pixels[1], pixels[2] = sorted(COUNTS).index(name), image, np.arange(16).reshape(4, 4)
    return pixels


@pytest.fixture
def splits() -> dict[Split, ClassImages]:
    stored = [pixels_of(name, i) for name, count in COUNTS.items() for i in range(count)]
    gather = StoredPixels(np.stack(stored))
    return {
        split: class_images(list(COUNTS), COUNTS, gather, names) for split, names in SPLITS.items()
    }


@pytest.fixture
def distribution(splits) -> ImageEpisodes:
    return ImageEpisodes("animals", (3, 4, 4), splits, "digest", Wanted(2, 2, 4))


def whole(inputs: torch.Tensor) -> torch.Tensor:
    return (inputs * 255).round().to(torch.int64)


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_examples_belong_to_their_classes_and_are_all_different(distribution, split):
    episodes = distribution.sample(split, 0, range(50))
    assert episodes.support.inputs.shape == (50, 4, 3, 4, 4)
    assert episodes.query.inputs.shape == (50, 8, 3, 4, 4)
    assert episodes.support.targets.tolist() == [[0, 0, 1, 1]] * 50
    assert episodes.query.targets.tolist() == [[0, 0, 0, 0, 1, 1, 1, 1]] * 50
    inputs = torch.cat([episodes.support.inputs, episodes.query.inputs], dim=1)
    targets = torch.cat([episodes.support.targets, episodes.query.targets], dim=1)
    for t in range(50):
        for label in (0, 1):
            name = distribution.class_names(split)[episodes.classes[t, label]]
            assert name in SPLITS[split]
            drawn = whole(inputs[t][targets[t] == label])
            assert len(drawn[:, 1, 0, 0].unique()) == 6
            for image in drawn:
                expected = torch.from_numpy(pixels_of(name, int(image[1, 0, 0]))).long()
                assert torch.equal(image, expected)


def test_every_image_of_a_large_class_and_of_a_small_one_is_drawn(distribution):
    episodes = distribution.sample("train", 0, range(400))
    images = whole(torch.cat([episodes.support.inputs, episodes.query.inputs], dim=1))
    numbers = {
        name: set(images[..., 1, 0, 0][images[..., 0, 0, 0] == sorted(COUNTS).index(name)].tolist())
        for name in SPLITS["train"]
    }
    assert numbers == {name: set(range(COUNTS[name])) for name in SPLITS["train"]}


def test_labels_follow_the_order_of_drawing(distribution):
    classes = distribution.sample("test", 0, range(100)).classes
    assert sorted({tuple(row) for row in classes.tolist()}) == [(0, 1), (1, 0)]


def test_a_batch_equals_its_episodes_one_by_one(distribution):
    indices = np.array([4, 10**12, 0, 4])
    batch = distribution.sample("train", 5, indices)
    for t, index in enumerate(indices):
        alone = distribution.sample("train", 5, np.array([index]))
        assert torch.equal(batch.support.inputs[t : t + 1], alone.support.inputs)
        assert torch.equal(batch.query.inputs[t : t + 1], alone.query.inputs)
        assert torch.equal(batch.classes[t : t + 1], alone.classes)
    assert len(distribution.sample("train", 5, range(0))) == 0


def test_seed_and_split_change_the_episode(distribution):
    first = distribution.sample("train", 0, range(20)).query.inputs
    assert not torch.equal(first, distribution.sample("train", 1, range(20)).query.inputs)


def test_attributes(distribution):
    assert (distribution.kind, distribution.outputs, distribution.train_classes) == (
        "classification",
        2,
        2,
    )
    assert distribution.class_names("train") == ("bee", "fox")


def test_a_class_in_two_splits_is_refused(splits):
    splits["test"] = splits["train"]
    with pytest.raises(DataError, match="class 'bee' is in both train and test"):
        ImageEpisodes("animals", (3, 4, 4), splits, "digest", Wanted(2, 1, 1))


def test_too_few_classes_are_named(splits):
    with pytest.raises(DataError, match="ways 3 is more than the 2 classes of train in animals"):
        ImageEpisodes("animals", (3, 4, 4), splits, "digest", Wanted(3, 1, 1))


def test_too_few_images_are_named(splits):
    with pytest.raises(DataError, match="animals has 6 images of class 'ant'; shots 5") as raised:
        ImageEpisodes("animals", (3, 4, 4), splits, "digest", Wanted(2, 5, 2))
    assert "shots + query_shots may be at most 6" in str(raised.value)

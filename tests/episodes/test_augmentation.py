from __future__ import annotations

import colorsys

import numpy as np
import pytest
import torch

from episodes import augmentation, load
from episodes.augmentation import (
    DRAWS,
    Augmentation,
    augment,
    color_jitter,
    flip_left_right,
    random_crop,
    rotate,
)
from episodes.class_images import ImageEpisodes, StoredPixels, Wanted, class_images
from episodes.errors import DataError

IMAGES = torch.rand(6, 3, 5, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_flipping_mirrors_the_images_whose_draw_is_low():
    flipped = flip_left_right(IMAGES, torch.tensor([0.0, 0.49, 0.5, 0.9, 0.2, 0.7]))
    for i in (0, 1, 4):
        assert torch.equal(flipped[i], IMAGES[i, :, :, [4, 3, 2, 1, 0]])
    for i in (2, 3, 5):
        assert torch.equal(flipped[i], IMAGES[i])


def test_rotating_agrees_with_numpy():
    turns = torch.tensor([0, 1, 2, 3, 1, 0])
    rotated = rotate(IMAGES, turns)
    for i, turn in enumerate(turns.tolist()):
        np.testing.assert_array_equal(rotated[i], np.rot90(IMAGES[i].numpy(), turn, axes=(1, 2)))


@pytest.mark.parametrize("padding", [1, 2, 4])
def test_a_crop_is_a_window_of_the_padded_image(padding):
    draws = torch.rand(6, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    draws[0] = 0
    draws[1] = 1 - 1e-12
    cropped = random_crop(IMAGES, padding, draws)
    padded = np.pad(IMAGES.numpy(), ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    for i, (u, v) in enumerate(draws.tolist()):
        top, left = int(u * (2 * padding + 1)), int(v * (2 * padding + 1))
        window = padded[i, :, top : top + 5, left : left + 5]
        np.testing.assert_array_equal(cropped[i], window)


def test_every_window_is_equally_likely():
    draws = torch.from_numpy(np.random.default_rng(0).random((9000, 2)))
    places = torch.zeros(9000, 1, 3, 3, dtype=torch.float64)
    places[:, 0, 1, 1] = 1
    counts = random_crop(places, 1, draws).sum(dim=0)[0]
    assert ((counts - 1000).abs() < 5 * np.sqrt(1000 * 8 / 9)).all()


def test_jitter_changes_brightness_contrast_and_saturation():
    middle = torch.full((6, 3), 0.5, dtype=torch.float64)
    torch.testing.assert_close(color_jitter(IMAGES, 0.4, middle), IMAGES)
    dark, flat, grey = (middle.clone() for _ in range(3))
    dark[:, 0] = flat[:, 1] = grey[:, 2] = 0
    torch.testing.assert_close(color_jitter(IMAGES, 0.4, dark), 0.6 * IMAGES)
    without_contrast = color_jitter(IMAGES, 1.0, flat)
    assert without_contrast.flatten(1).std(dim=1).max() < 1e-12
    without_color = color_jitter(IMAGES, 1.0, grey)
    for r, g, b in without_color.permute(0, 2, 3, 1).reshape(-1, 3).tolist():
        assert colorsys.rgb_to_hsv(r, g, b)[1] < 1e-9
    strong = color_jitter(IMAGES, 1.0, torch.ones(6, 3, dtype=torch.float64))
    assert strong.min() >= 0
    assert strong.max() <= 1


def test_grey_images_stay_grey():
    draws = torch.rand(6, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    assert color_jitter(IMAGES[:, :1], 0.5, draws).shape == (6, 1, 5, 5)


@pytest.mark.parametrize(
    "augmentation",
    [
        Augmentation(flip=True),
        Augmentation(crop_padding=2),
        Augmentation(jitter=0.3),
        Augmentation(rotations=True),
        Augmentation(True, 2, 0.3, True),
    ],
)
def test_an_image_does_not_depend_on_the_others(augmentation):
    draws = np.random.default_rng(3).random((6, DRAWS))
    turns = np.array([0, 1, 2, 3, 0, 1])
    together = augment(IMAGES, augmentation, draws, turns)
    for i in range(6):
        one = slice(i, i + 1)
        torch.testing.assert_close(
            augment(IMAGES[one], augmentation, draws[one], turns[one]), together[one]
        )
    assert not torch.equal(together, IMAGES)


def episodes_with(**options) -> ImageEpisodes:
    rng = np.random.default_rng(0)
    counts = {f"class {k}": 6 for k in range(9)}
    gather = StoredPixels(rng.integers(0, 256, (54, 3, 8, 8), dtype=np.uint8))
    names = list(counts)
    splits = {
        split: class_images(names, counts, gather, names[first : first + 3])
        for split, first in (("train", 0), ("validation", 3), ("test", 6))
    }
    wanted = Wanted.of(ways=3, shots=1, query_shots=2, options=options)
    return ImageEpisodes("few", (3, 8, 8), splits, "digest", wanted)


def test_only_meta_train_is_augmented_and_makes_another_problem():
    plain, augmented = episodes_with(), episodes_with(flip=True, crop_padding=2, jitter=0.2)
    assert plain.digest == episodes_with(flip=False).digest == "digest" != augmented.digest
    for split in ("train", "validation", "test"):
        one, other = (each.sample(split, 0, range(9)) for each in (plain, augmented))
        assert torch.equal(one.classes, other.classes)
        same = torch.equal(one.support.inputs, other.support.inputs)
        assert same == (split != "train")
    drawn = [augmented.sample("train", 0, indices) for indices in (range(9), range(4, 5))]
    assert torch.equal(drawn[0].query.inputs[4:5], drawn[1].query.inputs)
    other_seed = augmented.sample("train", 1, range(4, 5))
    assert not torch.equal(other_seed.query.inputs, drawn[1].query.inputs)


def test_rotations_are_classes_of_meta_train():
    plain, turned = episodes_with(), episodes_with(rotations=True)
    assert turned.train_classes == 12
    assert turned.class_counts == {"train": 12, "validation": 3, "test": 3}
    assert turned.class_names("train")[4:6] == ("class 1", "class 1, turned 90")
    assert torch.equal(
        plain.sample("test", 0, range(3)).query.inputs,
        turned.sample("test", 0, range(3)).query.inputs,
    )
    upright = {
        image.numpy().tobytes(): number
        for number, image in enumerate(
            torch.from_numpy(turned._splits["train"].gather(np.arange(18)).numpy())
        )
    }
    episodes = turned.sample("train", 0, range(40))
    assert set(episodes.classes.ravel().tolist()) == set(range(12))
    for t in range(40):
        for label, number in enumerate(episodes.classes[t].tolist()):
            for image in episodes.query.inputs[t][episodes.query.targets[t] == label]:
                pixels = (image * 255).round().to(torch.uint8).numpy()
                back = np.rot90(pixels, -(number % 4), axes=(1, 2))
                assert upright[np.ascontiguousarray(back).tobytes()] // 6 == number // 4


@pytest.mark.parametrize("split", ["train", "validation"])
def test_examples_are_made_and_augmented_on_the_device_that_is_named(split, monkeypatch):
    everything = {"flip": True, "crop_padding": 2, "jitter": 0.4, "rotations": True}
    there = episodes_with(**everything).sampling_on(torch.device("meta"))
    worked_on = []
    for name in ("flip_left_right", "random_crop", "color_jitter", "rotate"):
        work = getattr(augmentation, name)

        def noted(images, *given, work=work):
            worked_on.append(images.device.type)
            return work(images, *given)

        monkeypatch.setattr(augmentation, name, noted)
    episodes = there.sample(split, 0, range(2))
    assert worked_on == (["meta"] * 4 if split == "train" else [])
    assert episodes.query.inputs.device.type == episodes.query.targets.device.type == "meta"
    assert episodes.classes.device.type == episodes.index.device.type == "cpu"
    assert episodes.query.inputs.shape == (2, 6, 3, 8, 8)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"jitter": 1.5}, "jitter: 1.5: must be from 0 to 1"),
        ({"crop_padding": 8}, "crop_padding: 8: must be from 0 to 7, as images are 8 x 8"),
        ({"crop_padding": -1}, "crop_padding: -1"),
    ],
)
def test_what_cannot_be_done_is_named(options, message):
    with pytest.raises(DataError, match=message):
        episodes_with(**options)
    with pytest.raises(DataError, match="images are 8 x 9; only square ones can be turned"):
        Augmentation(rotations=True).check((3, 8, 9))


def test_real_images_are_augmented(real, data_folder, shared_cache):
    from episodes.cifar100 import load_cifar_fs_subset

    real("cifar100")
    wanted = {"ways": 5, "shots": 1, "query_shots": 5}
    options = {"flip": True, "crop_padding": 4, "jitter": 0.4, "rotations": True}
    augmented = load_cifar_fs_subset(**wanted, data=data_folder, options=options)
    plain = load("cifar-fs-subset", **wanted, data=data_folder)
    assert augmented.train_classes == 4 * plain.train_classes
    inputs = augmented.sample("train", 0, range(4)).query.inputs
    assert inputs.shape == (4, 25, 3, 32, 32)
    assert inputs.min() >= 0
    assert inputs.max() <= 1
    assert torch.equal(
        augmented.sample("test", 0, range(2)).query.inputs,
        plain.sample("test", 0, range(2)).query.inputs,
    )

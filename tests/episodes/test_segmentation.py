from __future__ import annotations

import numpy as np
import pytest
import torch

from episodes.episode import IGNORED, SPLITS, Measures
from episodes.errors import DataError
from episodes.labelled_images import VOID
from episodes.segmentation import ClassMasks, MaskEpisodes, classes_of
from tests.episodes.masks import labelled

HEIGHT, WIDTH = 6, 10


def labels(images: int = 24) -> np.ndarray:
    """Image i shows its class, 1 to 6, on the left, VOID on the right, and nothing in between."""
    found = np.zeros((images, HEIGHT, WIDTH), dtype=np.uint8)
    for i, one in enumerate(found):
        one[:, : 2 + i % 3] = 1 + i // 4
        one[:, -1] = VOID
    return found


def masks(classes: range, rows: range) -> ClassMasks:
    return classes_of(labelled(labels()), {f"class {k}": k for k in classes}, np.array(rows))


def splits() -> dict[str, ClassMasks]:
    return {
        "train": masks(range(1, 4), range(12)),
        "validation": masks(range(4, 6), range(12, 20)),
        "test": masks(range(6, 7), range(20, 24)),
    }


def episodes(flip: bool = False, shots: int = 2, query_shots: int = 1, **changes) -> MaskEpisodes:
    given = {**splits(), **changes}
    return MaskEpisodes("made-up", labelled(labels()), given, "digest", shots, query_shots, flip)


@pytest.mark.parametrize("split", SPLITS)
def test_an_episode_marks_one_class_in_different_images(split):
    source = episodes()
    drawn = source.sample(split, 3, range(40))
    assert drawn.support.inputs.shape == (40, 2, 3, HEIGHT, WIDTH)
    assert drawn.query.targets.shape == (40, 1, HEIGHT, WIDTH)
    assert drawn.classes.shape == (40, 1)
    inputs = torch.cat([drawn.support.inputs, drawn.query.inputs], 1)
    targets = torch.cat([drawn.support.targets, drawn.query.targets], 1)
    numbers = (inputs[:, :, 0, 0, 0] * 255).round().long()
    names = source.class_names(split)
    for t in range(40):
        of_class = int(names[int(drawn.classes[t, 0])].split()[1])
        assert len(set(numbers[t].tolist())) == 3
        for i, number in enumerate(numbers[t].tolist()):
            wanted = torch.from_numpy(labels()[number]).long()
            expected = (wanted == of_class).long().masked_fill(wanted == VOID, IGNORED)
            assert torch.equal(targets[t, i], expected)
            assert expected.sum() > IGNORED * HEIGHT
    assert len(set(drawn.classes[:, 0].tolist())) == len(names)


def test_an_episode_depends_on_split_seed_and_index_alone():
    source = episodes(flip=True)
    together = source.sample("train", 5, range(20))
    for index in (0, 7, 19):
        alone = source.sample("train", 5, range(index, index + 1))
        assert torch.equal(alone.support.inputs, together.support.inputs[index : index + 1])
        assert torch.equal(alone.query.targets, together.query.targets[index : index + 1])
    other = source.sample("train", 6, range(20))
    assert not torch.equal(other.support.inputs, together.support.inputs)


def test_a_mirrored_image_keeps_its_mask():
    """Green is the label: where it is that of the class, the target is 1, on either side."""
    plain, source = episodes(), episodes(flip=True)
    drawn, unflipped = (each.sample("train", 0, range(50)) for each in (source, plain))
    of_class = 10 * (drawn.classes[:, 0] + 1)
    green = (drawn.support.inputs[:, :, 1] * 255).round().long()
    assert torch.equal(green == of_class[:, None, None, None], drawn.support.targets == 1)
    changed = (drawn.support.inputs != unflipped.support.inputs).flatten(2).any(2)
    assert 0.3 < changed.float().mean() < 0.7
    assert torch.equal(drawn.support.inputs[changed], unflipped.support.inputs.flip(-1)[changed])
    for split in ("validation", "test"):
        assert torch.equal(
            source.sample(split, 0, range(9)).query.inputs,
            plain.sample(split, 0, range(9)).query.inputs,
        )
    assert source.digest != plain.digest


def test_the_masks_of_a_network_are_measured():
    source = episodes()
    assert isinstance(source, Measures)
    query = source.sample("test", 0, range(3)).query
    perfect = torch.stack([-query.targets.double(), query.targets.double()], -1)
    found = source.measure(lambda inputs: perfect, query)
    assert tuple(found) == source.measures
    assert found["episode_fb_iou"].tolist() == [1.0] * 3
    assert torch.equal(found["intersection"], (query.targets == 1).flatten(1).sum(1))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"test": masks(range(3, 4), range(20, 24))}, "class 'class 3' is in both train and test"),
        (
            {"test": ClassMasks(("other",), np.array([6]), (np.arange(10, 24),))},
            "2 images are in both train and test",
        ),
    ],
)
def test_splits_share_neither_classes_nor_images(changes, message):
    with pytest.raises(DataError, match=message):
        episodes(**changes)


def test_a_class_with_too_few_images_is_named():
    with pytest.raises(DataError, match=r"has 4 images of class 'class 1'.*at most 4"):
        episodes(query_shots=3)


def test_an_image_shows_a_class_that_is_large_enough():
    images = labelled(labels())
    share = {2: 12 / 60, 3: 18 / 60, 4: 24 / 60}
    assert images.rows_with(1, 0).tolist() == [0, 1, 2, 3]
    assert images.rows_with(1, share[3]).tolist() == [1, 2]
    assert images.rows_with(1, share[4] + 0.001).tolist() == []
    few = classes_of(images, {"a": 1, "b": 2}, np.arange(1, 6), least=share[3])
    assert [rows.tolist() for rows in few.rows] == [[1, 2], [4, 5]]

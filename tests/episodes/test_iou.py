from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from episodes.episode import IGNORED
from episodes.iou import MASK_MEASURES, class_mean_iou, fb_iou, foreground_iou, mask_measures


def logits(marked: list[list[int]]) -> Tensor:
    """One episode of one image of one line: a logit of 1 for what is marked."""
    of_class = torch.tensor(marked, dtype=torch.float64)[:, None, None]
    return torch.stack([1 - of_class, of_class], -1)


def targets(values: list[list[int]]) -> Tensor:
    return torch.tensor(values)[:, None, None]


def test_iou_is_of_the_pixels_that_count() -> None:
    marked = logits([[1, 1, 0, 0, 1], [1, 1, 1, 1, 1], [0, 0, 0, 0, 0]])
    wanted = targets([[1, 0, 1, 0, IGNORED], [1, 0, 0, 0, 0], [0, 0, 0, IGNORED, 0]])
    assert foreground_iou(marked, wanted).tolist() == [1 / 3, 1 / 5, 1.0]


def test_iou_pools_the_examples_of_an_episode() -> None:
    marked = torch.stack([logits([[1, 1, 1, 1]])[0, 0], logits([[1, 0, 0, 0]])[0, 0]])[None]
    wanted = torch.tensor([[[[1, 1, 1, 1]], [[0, 1, 0, 0]]]])
    assert foreground_iou(marked, wanted).tolist() == [4 / 6]


def test_a_tie_is_background() -> None:
    assert foreground_iou(torch.zeros(1, 1, 1, 2, 2), targets([[1, 0]])).tolist() == [0.0]


def test_both_sides_of_an_episode_are_measured() -> None:
    marked, wanted = logits([[1, 1, 0, 0, 1]]), targets([[1, 0, 1, 0, IGNORED]])
    found = mask_measures(marked, wanted)
    assert tuple(found) == MASK_MEASURES
    assert found["episode_fb_iou"].tolist() == [(1 / 3 + 1 / 3) / 2]
    assert (found["intersection"].tolist(), found["union"].tolist()) == ([1], [3])
    behind = found["background_intersection"].tolist(), found["background_union"].tolist()
    assert behind == ([1], [3])
    none = mask_measures(logits([[0, 0, 0, 0]]), targets([[1, 0, 0, 0]]))
    assert none["episode_fb_iou"].tolist() == [(0 + 3 / 4) / 2]
    assert none["background_intersection"].tolist() == [3]
    assert none["background_union"].tolist() == [4]


def test_fb_iou_adds_up_all_episodes_before_it_divides() -> None:
    """Two episodes of different sizes, which a mean over episodes would count alike."""
    marked = logits([[1, 1, 1, 1, 1, 1, 0, 0], [0, 0, 0, 0, 0, 0, 0, 1]])
    wanted = targets(
        [[1, 1, 1, 1, 1, 1, 1, 0], [1, 0, IGNORED, IGNORED, IGNORED, IGNORED, IGNORED, IGNORED]]
    )
    found = mask_measures(marked, wanted)
    each = [(6 / 7 + 1 / 2) / 2, (0 / 1 + 1 / 2) / 2]
    assert found["episode_fb_iou"].tolist() == pytest.approx(each)
    class_iou, background_iou = (6 + 0) / (7 + 1), (1 + 1) / (2 + 2)
    pooled = fb_iou(*(found[name].numpy() for name in MASK_MEASURES[1:]))
    assert pooled == pytest.approx((class_iou + background_iou) / 2)
    assert abs(pooled - sum(each) / 2) > 0.1


def test_fb_iou_does_not_part_classes_from_one_another() -> None:
    """Classes are one foreground: where `class_mean_iou` would give (1 + 1 / 9) / 2 of it."""
    sides = np.array([1, 1]), np.array([1, 9]), np.array([9, 1]), np.array([9, 9])
    assert fb_iou(*sides) == pytest.approx((2 / 10 + 10 / 18) / 2)


def test_fb_iou_of_nothing_is_not_a_number() -> None:
    none, some = np.array([0, 0]), np.array([1, 2])
    assert math.isnan(fb_iou(none, none, some, some))
    assert math.isnan(fb_iou(some, some, none, none))


def test_class_mean_adds_up_before_it_divides() -> None:
    classes = np.array([4, 2, 4, 7])
    intersection, union = np.array([1, 3, 9, 0]), np.array([10, 4, 10, 0])
    found = class_mean_iou(classes, intersection, union)
    assert found == pytest.approx((10 / 20 + 3 / 4) / 2)
    assert math.isnan(class_mean_iou(classes[3:], intersection[3:], union[3:]))

"""Intersection over union of masks, the one thing that segmentation is judged by."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from episodes.episode import IGNORED


def overlaps(marked: Tensor, wanted: Tensor, counted: Tensor) -> tuple[Tensor, Tensor]:
    """Return how many pixels two masks share, and how many either has, each (T,) int64.

    marked, wanted, counted: (T, ...) truth values; pixels that are not counted are in neither.
    """
    both = marked & wanted & counted
    either = (marked | wanted) & counted
    return both.flatten(1).sum(1), either.flatten(1).sum(1)


def iou(intersection: Tensor, union: Tensor, dtype: torch.dtype) -> Tensor:
    """Return intersection over union; 1 where the union is empty, as nothing was there to miss."""
    ratio = intersection.to(dtype) / union.clamp(min=1).to(dtype)
    return torch.where(union == 0, torch.ones_like(ratio), ratio)


def foreground(outputs: Tensor) -> Tensor:
    """Return which pixels are marked: logits (..., 2) -> truth values; a tie is background."""
    return outputs[..., 1] > outputs[..., 0]


def foreground_iou(outputs: Tensor, targets: Tensor) -> Tensor:
    """Return the IoU of the marked pixels with the class, over the pixels of all N examples.

    outputs: (T, N, H, W, 2) logits of background and class. targets: (T, N, H, W) int64, 0, 1, or
    IGNORED where a pixel counts neither way. Returns (T,).
    """
    counted = targets != IGNORED
    intersection, union = overlaps(foreground(outputs), targets == 1, counted)
    return iou(intersection, union, outputs.dtype)


def mask_measures(outputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
    """Return what is measured of masks beside the IoU of an episode, (T,) by name.

    `episode_fb_iou`: the mean of the IoU of the class and that of the background over the pixels of
    an episode. Its mean over episodes is not the FB-IoU of papers, which is `fb_iou`.
    `intersection`, `union`, `background_intersection`, `background_union`: pixels of the class and
    of the background, from which what papers report follows (`class_mean_iou`, `fb_iou`).
    """
    counted, marked, wanted = targets != IGNORED, foreground(outputs), targets == 1
    in_front = overlaps(marked, wanted, counted)
    behind = overlaps(~marked, ~wanted, counted)
    both_sides = iou(*in_front, outputs.dtype) + iou(*behind, outputs.dtype)
    return dict(zip(MASK_MEASURES, (both_sides / 2, *in_front, *behind), strict=True))


OVERLAPS = ("intersection", "union")
BOTH_OVERLAPS = (*OVERLAPS, "background_intersection", "background_union")
MASK_MEASURES = ("episode_fb_iou", *BOTH_OVERLAPS)
"""The names of `mask_measures`, beginning with what says most."""


def class_mean_iou(classes: np.ndarray, intersection: np.ndarray, union: np.ndarray) -> float:
    """Return the mean over classes of the IoU of all of a class's pixels in all its episodes.

    Shaban et al. 2017, arXiv:1709.03410, section 5: intersections and unions are added up before
    one is divided by the other, so that large objects count for more than in a mean over episodes.
    classes: (N,) ids; intersection, union: (N,) pixels of an episode. A class whose union is empty
    is left out; NaN where all are.
    """
    _, place = np.unique(classes, return_inverse=True)
    both = np.bincount(place, weights=intersection)
    either = np.bincount(place, weights=union)
    counted = either > 0
    return float(np.mean(both[counted] / either[counted])) if counted.any() else float("nan")


def fb_iou(
    intersection: np.ndarray,
    union: np.ndarray,
    background_intersection: np.ndarray,
    background_union: np.ndarray,
) -> float:
    """Return FB-IoU: the mean of the IoU of the foreground and that of the background.

    Each of all pixels of all episodes: all classes are one foreground, and intersections and unions
    are added up before one is divided by the other. Rakelly et al. 2018, "Conditional networks for
    few-shot semantic segmentation"; so computed by the code of PANet (Wang et al. 2019,
    arXiv:1908.06391, "binary-IoU") and of HSNet (Min et al. 2021, arXiv:2104.01538).
    All (N,): pixels of an episode. NaN where one of the two has no pixel in any episode.
    """
    both = np.array([np.sum(intersection), np.sum(background_intersection)], dtype=np.float64)
    either = np.array([np.sum(union), np.sum(background_union)], dtype=np.float64)
    return float(np.mean(both / either)) if either.all() else float("nan")

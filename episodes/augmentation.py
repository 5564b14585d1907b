"""Augmentation of images: pure functions of tensors and of random numbers drawn beforehand.

All images of a batch are worked on at once, on the device that they are on. An image's own draws
decide what becomes of it, and each operation has its own place among them, so that an episode does
not depend on what else is in the batch, nor one operation on whether another is chosen.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from episodes.errors import DataError

DRAWS = 6
"""Of an image: one to flip, two to crop, three for its colours."""

# ITU-R BT.601: how bright the eye sees red, green and blue.
_LUMA = (0.299, 0.587, 0.114)


@dataclass(frozen=True)
class Augmentation:
    """What is done to the images of meta-train.

    flip: half of the images are mirrored, left to right.
    crop_padding: images are moved by up to so many pixels either way, with zeros behind them.
    jitter: brightness, contrast and saturation are each multiplied by a factor that is uniform
        between 1 - jitter and 1 + jitter.
    rotations: images turned by 90, 180 and 270 degrees are classes of their own, as in Santoro et
        al. 2016, "Meta-learning with memory-augmented neural networks".
    """

    flip: bool = False
    crop_padding: int = 0
    jitter: float = 0.0
    rotations: bool = False

    def __bool__(self) -> bool:
        return self != NO_AUGMENTATION

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> Augmentation:
        """Read the options that have names of fields here; others belong to someone else."""
        return cls(**{f.name: options[f.name] for f in fields(cls) if f.name in options})

    def check(self, shape: tuple[int, ...]) -> None:
        """Raise DataError when it cannot be done to images of (channels, height, width)."""
        _, height, width = shape
        if not 0 <= self.jitter <= 1:
            raise DataError(f"jitter: {self.jitter!r}: must be from 0 to 1")
        if not 0 <= self.crop_padding < min(height, width):
            raise DataError(
                f"crop_padding: {self.crop_padding!r}: must be from 0 to {min(height, width) - 1}, "
                f"as images are {height} x {width}"
            )
        if self.rotations and height != width:
            raise DataError(
                f"rotations: true: images are {height} x {width}; only square ones can be turned"
            )


NO_AUGMENTATION = Augmentation()


def augment(
    images: Tensor, augmentation: Augmentation, draws: np.ndarray, turns: np.ndarray
) -> Tensor:
    """Augment images one by one.

    images: (N, channels, height, width) floats in [0, 1].
    draws: (N, DRAWS) numbers in [0, 1).
    turns: (N,) int64, quarters of a turn; all 0 where rotations are not classes.
    Returns images of the same shape, in [0, 1].
    """
    on_device = torch.from_numpy(draws).to(images.device, images.dtype)
    if augmentation.rotations:
        images = rotate(images, torch.from_numpy(turns).to(images.device))
    if augmentation.flip:
        images = flip_left_right(images, on_device[:, 0])
    if augmentation.crop_padding:
        images = random_crop(images, augmentation.crop_padding, on_device[:, 1:3])
    if augmentation.jitter:
        images = color_jitter(images, augmentation.jitter, on_device[:, 3:6])
    return images


def rotate(images: Tensor, turns: Tensor) -> Tensor:
    """Turn square images counter-clockwise by quarters: (N, C, S, S) images, (N,) int64 turns."""
    turned = images
    for quarters in (1, 2, 3):
        here = (turns == quarters)[:, None, None, None]
        turned = torch.where(here, torch.rot90(images, quarters, dims=(2, 3)), turned)
    return turned


def flip_left_right(images: Tensor, draws: Tensor) -> Tensor:
    """Mirror the images whose draw is below a half: (N, C, H, W) images, (N,) draws."""
    return torch.where((draws < 0.5)[:, None, None, None], images.flip(3), images)


def random_crop(images: Tensor, padding: int, draws: Tensor) -> Tensor:
    """Pad images with zeros on all sides and cut a window of their size out at random.

    images: (N, C, H, W); draws: (N, 2), for the window's top and left edge.
    """
    n, channels, height, width = images.shape
    padded = F.pad(images, (padding,) * 4)
    corner = (draws * (2 * padding + 1)).long().clamp_(max=2 * padding)
    rows = corner[:, :1] + torch.arange(height, device=images.device)
    columns = corner[:, 1:] + torch.arange(width, device=images.device)
    cut = padded.gather(2, rows[:, None, :, None].expand(n, channels, height, padded.shape[3]))
    return cut.gather(3, columns[:, None, None, :].expand(n, channels, height, width))


def color_jitter(images: Tensor, strength: float, draws: Tensor) -> Tensor:
    """Change brightness, then contrast, then saturation, each by a factor of its own.

    images: (N, C, H, W) in [0, 1], C 1 or 3; grey ones have no saturation to change.
    draws: (N, 3). Contrast is the distance to the mean brightness of the image, saturation that to
    the brightness of the pixel. Values are cut to [0, 1] after each.
    """
    factors = 1 + strength * (2 * draws - 1)
    brightness, contrast, saturation = factors[:, :, None, None, None].unbind(1)
    images = (images * brightness).clamp(0, 1)
    mean = _luma(images).mean(dim=(2, 3), keepdim=True)
    images = (mean + contrast * (images - mean)).clamp(0, 1)
    if images.shape[1] == 1:
        return images
    grey = _luma(images)
    return (grey + saturation * (images - grey)).clamp(0, 1)


def _luma(images: Tensor) -> Tensor:
    """Return the brightness of each pixel, (N, 1, H, W)."""
    if images.shape[1] == 1:
        return images
    weights = torch.tensor(_LUMA, device=images.device, dtype=images.dtype)
    return (images * weights[:, None, None]).sum(dim=1, keepdim=True)

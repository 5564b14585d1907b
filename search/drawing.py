"""Pictures of one episode: what a learner sees of it."""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure

from episodes.episode import IGNORED
from search.literal_text import literally
from search.sentence_drawing import draw_sentences

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from torch import Tensor

    from episodes.episode import Episodes, Examples, Kind

INCH_PER_IMAGE, LEAST_INCHES, MOST_INCHES = 0.7, 2.5, 12.0
GAP = 2
"""Pixels between images."""

MARKED, UNCOUNTED = np.array([1.0, 0.1, 0.1]), np.array([0.6, 0.6, 0.6])
OPACITY = 0.6

PARTS = ("support", "query")
COLORS = {"support": ("tab:red", "o"), "query": ("tab:blue", ".")}


@literally
def draw_episode(
    episode: Episodes,
    kind: Kind,
    title: str,
    class_names: Sequence[str] = (),
    sentences: Callable[[Examples], list[list[tuple[str, str]]]] | None = None,
) -> Figure:
    """Draw the support and the query set of one episode side by side.

    class_names: of the split's classes, by id; empty where they have none.
    episode: a batch of one. Images (channels of 1 or 3) are laid out with a row for each label;
    where they have masks, once as they are and below that with the class in red, and with pixels
    that do not count in grey. Other inputs are drawn as points, over their first feature where they
    have several.
    sentences: of a translation task, examples as text (`Translation.sentences`); numbers of symbols
        are shown where a task has none.
    Raises ValueError for a batch of another size.
    """
    if len(episode) != 1:
        raise ValueError(f"one episode is drawn, not {len(episode)}")
    images = holds_images(episode)
    labels = label_names(episode, class_names)
    parts = (episode.support, episode.query)
    if kind == "segmentation":
        rows = [masked_rows(part.inputs[0], part.targets[0]) for part in parts]
        figure = _draw_grids(rows, ["image", class_name(episode, class_names)])
    elif kind == "translation":
        as_text = sentences or _as_numbers
        support, query = (as_text(examples)[0] for examples in parts)
        figure = draw_sentences(support, query, class_name(episode, class_names))
    elif images and kind == "classification":
        figure = _draw_grids([image_rows(examples) for examples in parts], labels)
    elif kind == "classification":
        figure = _draw_points(episode, labels)
    else:
        figure = _draw_curve(episode)
    figure.suptitle(title, fontsize=10)
    return figure


def _as_numbers(examples: Examples) -> list[list[tuple[str, str]]]:
    """Return the symbols of inputs and targets as they are."""

    def shown(symbols: Sequence[int]) -> str:
        return " ".join(str(symbol) for symbol in symbols if symbol != IGNORED)

    inputs, targets = examples.inputs.tolist(), examples.targets.tolist()
    return [
        [(shown(one), shown(other)) for one, other in zip(*both, strict=True)]
        for both in zip(inputs, targets, strict=True)
    ]


def holds_images(episode: Episodes) -> bool:
    """Say whether the inputs are images of 1 or 3 channels."""
    return episode.support.inputs.dim() == 5 and episode.support.inputs.shape[2] in (1, 3)


def label_names(episode: Episodes, class_names: Sequence[str]) -> list[str]:
    """Return what to call each label of an episode."""
    return [
        f"{label}: {class_names[id] if class_names else f'class {id}'}"
        for label, id in enumerate(episode.classes[0].tolist())
    ]


def class_name(episode: Episodes, class_names: Sequence[str]) -> str:
    """Return what to call the one class of an episode of masks."""
    return class_names[int(episode.classes[0, 0])] if class_names else "class"


def _draw_grids(grids: list[list[list[np.ndarray]]], labels: Sequence[str]) -> Figure:
    """Draw the rows of images of support and query, which have these labels."""
    rows, columns = len(grids[0]), [max(map(len, grid)) for grid in grids]
    figure = Figure(
        figsize=(inches(sum(columns) + 2), inches(rows + 1)), layout="constrained", dpi=150
    )
    axes = figure.subplots(1, 2, width_ratios=columns)
    for part, grid, ax in zip(PARTS, grids, axes, strict=True):
        show_mosaic(ax, grid, part, labels if part == "support" else ())
    return figure


def show_mosaic(
    ax: Axes, grid: list[list[np.ndarray]], title: str, labels: Sequence[str] = ()
) -> None:
    """Show images, a row of them for each label, and beside them what the rows are called."""
    height = grid[0][0].shape[0] + GAP
    ax.imshow(mosaic(grid), cmap="gray", vmin=0.0, vmax=1.0, interpolation="nearest")
    ax.set_title(title, fontsize=9)
    ax.set_xticks([])
    ax.set_yticks([height * (row + 0.5) for row in range(len(labels))])
    ax.set_yticklabels(labels, fontsize=7)
    ax.tick_params(length=0)
    for side in ax.spines.values():
        side.set_visible(False)


def image_rows(examples: Examples) -> list[list[np.ndarray]]:
    """Return the images of each label, as (height, width, channels) in [0, 1]."""
    labels = examples.targets[0].tolist()
    pixels = examples.inputs[0].movedim(1, -1).float().clamp(0, 1).cpu().numpy()
    rows: list[list[np.ndarray]] = [[] for _ in range(max(labels) + 1)]
    for label, image in zip(labels, pixels, strict=True):
        rows[label].append(image)
    return rows


def masked_rows(inputs: Tensor, targets: Tensor) -> list[list[np.ndarray]]:
    """Return images as they are, and with masks over them, as (height, width, 3).

    inputs: (N, channels, height, width). targets: (N, height, width) as in an episode.
    """
    pixels = inputs.movedim(1, -1).float().clamp(0, 1).cpu().numpy()
    plain = np.broadcast_to(pixels, (*pixels.shape[:3], 3))
    known = targets.cpu().numpy()[..., None]
    shown = np.where(known == 1, (1 - OPACITY) * plain + OPACITY * MARKED, plain)
    shown = np.where(known == IGNORED, UNCOUNTED, shown)
    return [list(plain), list(shown.clip(0, 1))]


def mosaic(grid: list[list[np.ndarray]]) -> np.ndarray:
    """Lay images of one shape out in rows, on white; grey ones lose their axis of channels."""
    height, width, channels = grid[0][0].shape
    columns = max(map(len, grid))
    whole = np.ones(((height + GAP) * len(grid), (width + GAP) * columns, channels))
    for row, images in enumerate(grid):
        for column, image in enumerate(images):
            top, left = row * (height + GAP), column * (width + GAP)
            whole[top : top + height, left : left + width] = image
    return whole[..., 0] if channels == 1 else whole


def _draw_points(episode: Episodes, names: Sequence[str]) -> Figure:
    figure, axes = _two_panels()
    for part, examples, ax in zip(PARTS, (episode.support, episode.query), axes, strict=True):
        flat = examples.inputs[0].flatten(1).float().cpu().numpy()
        second = flat[:, 1] if flat.shape[1] > 1 else np.zeros(len(flat))
        labels = examples.targets[0].cpu().numpy()
        for label, name in enumerate(names):
            at = labels == label
            ax.scatter(flat[at, 0], second[at], s=14, label=name)
        ax.set_title(part, fontsize=9)
        ax.set_xlabel("first feature" if flat.shape[1] > 1 else "input")
        ax.set_ylabel("second feature" if flat.shape[1] > 1 else "")
    axes[0].legend(fontsize=7)
    return figure


def _draw_curve(episode: Episodes) -> Figure:
    """Draw each dimension of the target over the input, support and query in one panel."""
    targets = episode.support.targets.shape[-1]
    figure = Figure(figsize=(6.0, 3.0 * min(targets, 4)), layout="constrained", dpi=150)
    several = math.prod(episode.support.inputs.shape[2:]) > 1
    for dimension in range(min(targets, 4)):
        ax = figure.add_subplot(min(targets, 4), 1, dimension + 1)
        for part, examples in zip(PARTS, (episode.support, episode.query), strict=True):
            x = examples.inputs[0].flatten(1)[:, 0].float().cpu().numpy()
            y = examples.targets[0, :, dimension].float().cpu().numpy()
            color, marker = COLORS[part]
            ax.plot(x, y, marker, color=color, markersize=5, label=part)
        ax.set_xlabel("first feature" if several else "input")
        ax.set_ylabel("target" if targets == 1 else f"target {dimension}")
        ax.legend(fontsize=7)
    return figure


def _two_panels() -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(8.0, 3.5), layout="constrained", dpi=150)
    return figure, list(figure.subplots(1, 2, sharex=True, sharey=True))


def inches(images: int) -> float:
    """Return the width of a figure of so many images in a row."""
    return min(max(images * INCH_PER_IMAGE, LEAST_INCHES), MOST_INCHES)


@literally
def png(figure: Figure) -> bytes:
    """Return a figure as a PNG file. Signs that the font lacks are drawn as boxes."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from", UserWarning)
        figure.savefig(buffer, format="png")
    return buffer.getvalue()

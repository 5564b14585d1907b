"""Pictures of what a learner predicts in one episode, before adaptation and after it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure

from episodes.iou import foreground
from search.drawing import (
    COLORS,
    class_name,
    holds_images,
    image_rows,
    inches,
    label_names,
    masked_rows,
    show_mosaic,
)
from search.literal_text import literally
from search.sentence_drawing import draw_translations

if TYPE_CHECKING:
    from torch import Tensor

    from episodes.episode import Episodes, Examples, Kind

QUERIES_SHOWN = 5
"""Images of each label at most."""

FRAME = 2
"""Pixels around an image."""

RIGHT, WRONG = (0.17, 0.63, 0.17), (0.84, 0.15, 0.16)
SHADES = ("tab:gray", "tab:green", "tab:purple", "tab:orange")


@dataclass(frozen=True)
class Prediction:
    """What was predicted in an episode, and what to write above it.

    outputs: (1, N, ...), on the query set.
    inputs, curve: places (1, M, 1) between all inputs, ascending, and the outputs (1, M, D) there;
        None where an input is not a single number that a curve could be drawn over.
    texts: a translation of each query sentence; None where outputs are no sentences.
    """

    title: str
    outputs: Tensor
    inputs: Tensor | None = None
    curve: Tensor | None = None
    texts: Sequence[str] | None = None


@literally
def draw_predictions(
    episode: Episodes,
    kind: Kind,
    title: str,
    predictions: Sequence[Prediction],
    class_names: Sequence[str] = (),
    sentences: Callable[[Examples], list[list[tuple[str, str]]]] | None = None,
) -> Figure | None:
    """Draw a support set and what was predicted of the query set at one or more times.

    Images of classes have a frame that tells whether they were recognized; masks lie over their
    images; points that were not recognized are crosses; curves are drawn over their input. None for
    what cannot be drawn.
    episode: a batch of one. class_names: of the split's classes, by id. sentences: of a translation
    task, examples as text.
    """
    if kind == "translation":
        figure = _draw_translations(episode, predictions, class_names, sentences)
    elif kind == "segmentation":
        figure = _draw_masks(episode, predictions, class_name(episode, class_names))
    elif kind == "regression":
        figure = _draw_curves(episode, predictions)
    else:
        draw = _draw_images if holds_images(episode) else _draw_points
        figure = draw(episode, predictions, label_names(episode, class_names))
    if figure is not None:
        figure.suptitle(title, fontsize=10)
    return figure


def _draw_translations(
    episode: Episodes,
    predictions: Sequence[Prediction],
    class_names: Sequence[str],
    sentences: Callable[[Examples], list[list[tuple[str, str]]]] | None,
) -> Figure | None:
    made = [(each.title, each.texts) for each in predictions if each.texts is not None]
    if sentences is None or not made:
        return None
    [support], [query] = sentences(episode.support), sentences(episode.query)
    return draw_translations(support, query, made, class_name(episode, class_names))


def _draw_images(
    episode: Episodes, predictions: Sequence[Prediction], labels: Sequence[str]
) -> Figure:
    support = image_rows(episode.support)
    grids = [[[_framed(image) for image in row] for row in support]]
    grids += [_judged(episode, prediction) for prediction in predictions]
    titles = ["support", *(prediction.title for prediction in predictions)]
    columns = [max(map(len, grid)) for grid in grids]
    figure = Figure(
        figsize=(inches(sum(columns) + 3), inches(len(labels) + 1)), layout="constrained", dpi=150
    )
    axes = figure.subplots(1, len(grids), width_ratios=columns)
    for place, (ax, grid, above) in enumerate(zip(axes, grids, titles, strict=True)):
        show_mosaic(ax, grid, above, labels if place == 0 else ())
    return figure


def _judged(episode: Episodes, prediction: Prediction) -> list[list[np.ndarray]]:
    """Return the first query images of each label in frames that say whether they are right."""
    right = _right(episode, prediction).tolist()
    targets = episode.query.targets[0].tolist()
    rows = image_rows(episode.query)
    verdicts: list[list[bool]] = [[] for _ in rows]
    for label, verdict in zip(targets, right, strict=True):
        verdicts[label].append(verdict)
    return [
        [_framed(image, RIGHT if verdict else WRONG) for image, verdict in pairs]
        for pairs in (
            list(zip(images, known, strict=True))[:QUERIES_SHOWN]
            for images, known in zip(rows, verdicts, strict=True)
        )
    ]


def _right(episode: Episodes, prediction: Prediction) -> np.ndarray:
    found: np.ndarray = (prediction.outputs[0].argmax(-1) == episode.query.targets[0]).cpu().numpy()
    return found


def _framed(image: np.ndarray, color: Sequence[float] = (1.0, 1.0, 1.0)) -> np.ndarray:
    """Return an image (height, width, 1 or 3) in colours, within a frame."""
    height, width, _ = image.shape
    whole = np.empty((height + 2 * FRAME, width + 2 * FRAME, 3))
    whole[:] = color
    whole[FRAME:-FRAME, FRAME:-FRAME] = image
    return whole


def _draw_masks(episode: Episodes, predictions: Sequence[Prediction], name: str) -> Figure:
    """Draw support and query with their masks, and below these the predicted ones."""
    shown = slice(0, QUERIES_SHOWN)
    support, query = episode.support, episode.query
    grids = [
        masked_rows(part.inputs[0, shown], part.targets[0, shown]) for part in (support, query)
    ]
    titles = ["support", "query"]
    for prediction in predictions:
        marked = foreground(prediction.outputs[0, shown]).long()
        grids.append(masked_rows(query.inputs[0, shown], marked)[1:])
        titles.append(prediction.title)
    rows = [["image", name], ["image", name], *[["predicted"] for _ in predictions]]
    heights = [len(grid) for grid in grids]
    columns = max(len(row) for grid in grids for row in grid)
    figure = Figure(
        figsize=(inches(columns + 2), inches(sum(heights) + 2)), layout="constrained", dpi=150
    )
    axes = figure.subplots(len(grids), 1, height_ratios=heights)
    for ax, grid, title, names in zip(axes, grids, titles, rows, strict=True):
        show_mosaic(ax, grid, title, names)
    return figure


def _draw_points(
    episode: Episodes, predictions: Sequence[Prediction], labels: Sequence[str]
) -> Figure:
    """Draw the query points in the colours of what they were taken for."""
    figure = Figure(figsize=(4.0 * (len(predictions) + 1), 3.5), layout="constrained", dpi=150)
    axes = list(figure.subplots(1, len(predictions) + 1, sharex=True, sharey=True, squeeze=False))
    support, *panels = axes[0]
    nothing_wrong = np.ones(episode.support.targets.shape[1], dtype=bool)
    _scatter(support, episode.support.inputs, episode.support.targets[0], nothing_wrong, labels)
    support.set_title("support", fontsize=9)
    support.legend(fontsize=7)
    for ax, prediction in zip(panels, predictions, strict=True):
        taken_for = prediction.outputs[0].argmax(-1)
        _scatter(ax, episode.query.inputs, taken_for, _right(episode, prediction), labels)
        ax.set_title(prediction.title, fontsize=9)
    return figure


def _scatter(
    ax: object, inputs: Tensor, labels: Tensor, right: np.ndarray, names: Sequence[str]
) -> None:
    flat = inputs[0].flatten(1).float().cpu().numpy()
    second = flat[:, 1] if flat.shape[1] > 1 else np.zeros(len(flat))
    known = labels.cpu().numpy()
    for label, name in enumerate(names):
        for marker, chosen in (("o", right), ("x", ~right)):
            at = (known == label) & chosen
            shown = name if marker == "o" else None
            ax.scatter(  # type: ignore[attr-defined]
                flat[at, 0], second[at], s=16, marker=marker, color=f"C{label}", label=shown
            )


def _draw_curves(episode: Episodes, predictions: Sequence[Prediction]) -> Figure:
    """Draw each dimension of the target over the input, or over the truth where inputs are many."""
    dimensions = min(episode.support.targets.shape[-1], 4)
    figure = Figure(figsize=(6.0, 3.0 * dimensions + 0.5), layout="constrained", dpi=150)
    for dimension in range(dimensions):
        ax = figure.add_subplot(dimensions, 1, dimension + 1)
        truth = episode.query.targets[0, :, dimension]
        for shade, prediction in zip(SHADES, predictions, strict=False):
            x, y, line = truth, prediction.outputs, "."
            if prediction.inputs is not None and prediction.curve is not None:
                x, y, line = prediction.inputs[0, :, 0], prediction.curve, "-"
            ax.plot(_line(x), _line(y[0, :, dimension]), line, color=shade, label=prediction.title)
        if predictions[0].curve is None:
            ends = [float(truth.min()), float(truth.max())]
            ax.plot(ends, ends, "-", color="tab:blue", linewidth=1, label="query")
            ax.set_xlabel("target")
            ax.set_ylabel("prediction")
            continue
        for part, examples in (("query", episode.query), ("support", episode.support)):
            color, marker = COLORS[part]
            targets = examples.targets[0, :, dimension]
            x = examples.inputs[0].flatten(1)[:, 0]
            ax.plot(_line(x), _line(targets), marker, color=color, markersize=5, label=part)
        ax.set_xlabel("input")
        ax.set_ylabel("target" if dimensions == 1 else f"target {dimension}")
    handles, names = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=2, fontsize=8)
    return figure


def _line(values: Tensor) -> np.ndarray:
    found: np.ndarray = values.float().cpu().numpy()
    return found

"""Pictures of episodes of translation: their sentences, as text."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from matplotlib.figure import Figure

Sentences = Sequence[tuple[str, str]]
"""A sentence, and its English."""

INCHES_WIDE = 9.0
INCH_PER_LINE = 0.17
CHARACTERS = 56
"""Of a line in one of two columns; longer sentences go on in the next one."""

MOST_PAIRS = 40
"""Of either part; what is left out is counted."""


def draw_sentences(support: Sentences, query: Sentences, language: str) -> Figure:
    """Draw pairs of sentences, the language's own at the left, those of the query below.

    Scripts that matplotlib's font lacks show as boxes.
    """
    rows: list[tuple[str, str, str]] = [("bold", f"support: {language}", "English")]
    rows += _rows(support)
    rows += [("normal", "", ""), ("bold", f"query: {language}", "English"), *_rows(query)]
    heights = [max(1, left.count("\n") + 1, right.count("\n") + 1) for _, left, right in rows]
    lines = sum(heights)
    figure = Figure(
        figsize=(INCHES_WIDE, INCH_PER_LINE * (lines + 4)), layout="constrained", dpi=150
    )
    ax = figure.add_subplot()
    ax.axis("off")
    ax.set_xlim(0, 1)
    ax.set_ylim(lines, 0)
    top = 0
    for (weight, left, right), height in zip(rows, heights, strict=True):
        for x, text in ((0.0, left), (0.5, right)):
            # A "$" in a sentence is no formula.
            ax.text(x, top, text, va="top", fontsize=8, weight=weight, parse_math=False)
        top += height
    return figure


def _rows(pairs: Sentences) -> list[tuple[str, str, str]]:
    rows = [("normal", _wrapped(one), _wrapped(other)) for one, other in pairs[:MOST_PAIRS]]
    if len(pairs) > MOST_PAIRS:
        rows.append(("normal", f"and {len(pairs) - MOST_PAIRS} more", ""))
    return rows


def _wrapped(text: str) -> str:
    return textwrap.fill(text, CHARACTERS, max_lines=3) or " "

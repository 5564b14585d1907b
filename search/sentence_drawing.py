"""Pictures of episodes of translation: their sentences, as text."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import NamedTuple

from matplotlib.figure import Figure

from search.literal_text import literally

Sentences = Sequence[tuple[str, str]]
"""A sentence, and its English."""

INCHES_WIDE = 4.5
"""Of a column."""

INCH_PER_LINE = 0.17
CHARACTERS = 56
"""Of a line in a column; longer sentences go on in the next one."""

MOST_PAIRS = 40
"""Of either part; what is left out is counted."""


class Row(NamedTuple):
    """What stands side by side, and how bold."""

    weight: str
    texts: Sequence[str]


def draw_sentences(support: Sentences, query: Sentences, language: str) -> Figure:
    """Draw pairs of sentences, the language's own at the left, those of the query below.

    Scripts that matplotlib's font lacks show as boxes.
    """
    return draw_translations(support, query, [], language)


def draw_translations(
    support: Sentences,
    query: Sentences,
    translations: Sequence[tuple[str, Sequence[str]]],
    language: str,
) -> Figure:
    """Draw pairs of sentences, and beside those of the query set what was made of them.

    translations: a title, and a translation of each sentence of the query set.
    """
    titles = [title for title, _ in translations]
    known = [
        (*pair, *(texts[place] for _, texts in translations)) for place, pair in enumerate(query)
    ]
    blank = [""] * len(titles)
    rows = [Row("bold", (f"support: {language}", "English", *blank))]
    rows += _rows([(*pair, *blank) for pair in support])
    rows += [Row("normal", ("", "", *blank))]
    return _drawn([*rows, Row("bold", (f"query: {language}", "English", *titles)), *_rows(known)])


@literally
def _drawn(rows: Sequence[Row]) -> Figure:
    columns = len(rows[0].texts)
    wrapped = [Row(row.weight, [_wrapped(text) for text in row.texts]) for row in rows]
    heights = [max(text.count("\n") + 1 for text in row.texts) for row in wrapped]
    lines = sum(heights)
    size = (INCHES_WIDE * columns, INCH_PER_LINE * (lines + 4))
    figure = Figure(figsize=size, layout="constrained", dpi=150)
    ax = figure.add_subplot()
    ax.axis("off")
    ax.set_xlim(0, 1)
    ax.set_ylim(lines, 0)
    top = 0
    for row, height in zip(wrapped, heights, strict=True):
        for place, text in enumerate(row.texts):
            ax.text(place / columns, top, text, va="top", fontsize=8, weight=row.weight)
        top += height
    return figure


def _rows(sentences: Sequence[Sequence[str]]) -> list[Row]:
    rows = [Row("normal", texts) for texts in sentences[:MOST_PAIRS]]
    if len(sentences) > MOST_PAIRS:
        blank = [""] * (len(sentences[0]) - 1)
        rows.append(Row("normal", (f"and {len(sentences) - MOST_PAIRS} more", *blank)))
    return rows


def _wrapped(text: str) -> str:
    return textwrap.fill(text, CHARACTERS, max_lines=3) or " "

"""The options of the translation tasks."""

from __future__ import annotations

from episodes.options import Option

TRAIN = ["pol", "hun", "nld", "dan", "swe", "ell", "bul", "ces", "deu"]
VALIDATION = ["lit", "est", "cat"]
TEST = ["ron", "lvs", "fin"]
"""By ISO 639-3. Low-resource languages of Gu et al. 2018, arXiv:1808.08437, are judged on, and each
has a relative among those that trials are selected by: Baltic, Finnic and Romance languages."""

_SETTINGS = (
    Option(
        "vocabulary",
        "whole number",
        "subword symbols, learned from meta-train: 3 signs, 256 bytes, the rest merges of them",
        2000,
        least=300,
        most=60000,
    ),
    Option(
        "longest",
        "whole number",
        "symbols of a sentence, its end included; pairs with a longer one are left out",
        24,
        least=4,
        most=512,
    ),
    Option(
        "beam",
        "whole number",
        "hypotheses of beam search; 1 decodes greedily; another one makes another problem",
        1,
        least=1,
    ),
)


def _languages(split: str, default: list[str] | None) -> Option:
    what = f"languages of {split}, by the names of their files"
    return Option(
        f"{split.removeprefix('meta-')}_languages", "names", what, default, required=default is None
    )


TATOEBA_OPTIONS = (
    _languages("meta-train", TRAIN),
    _languages("meta-validation", VALIDATION),
    _languages("meta-test", TEST),
    *_SETTINGS,
)
OPTIONS = (
    Option("folder", "path", "holds LANGUAGE.txt or LANGUAGE.txt.gz", required=True),
    _languages("meta-train", None),
    _languages("meta-validation", None),
    _languages("meta-test", None),
    *_SETTINGS,
)

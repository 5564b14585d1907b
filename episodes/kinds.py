"""The kinds of problem: what a learner must put out, and what it is judged by."""

from __future__ import annotations

from typing import Literal

Kind = Literal["classification", "regression", "segmentation", "translation"]
Score = Literal["accuracy", "iou"]

KINDS: tuple[Kind, ...] = ("classification", "regression", "segmentation", "translation")

SCORES: dict[Kind, Score | None] = {
    "classification": "accuracy",
    "regression": None,
    "segmentation": "iou",
    "translation": None,
}
"""What trials are compared by, 0 to 1, larger is better; None where that is the query loss."""

WITH_WAYS: tuple[Kind, ...] = ("classification",)
"""Kinds whose episodes tell several classes from one another."""

"""Which tasks, or labels, belong to meta-train, meta-validation and meta-test."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from episodes.arrays.table import shown_names
from episodes.counter_rng import stream_key, uniforms
from episodes.episode import SPLITS, Split
from episodes.errors import DataError

Places = Mapping[Split, np.ndarray]
"""For each split the places of its names among all, ascending."""


def places_of_splits(names: np.ndarray, what: str, options: Mapping[str, Any]) -> Places:
    """Part names among the splits: as a file lists them, or by share.

    names: of all tasks, or of all labels; distinct. what: "task" or "label", for errors.
    Raises DataError when a split is left without any, and for what is wrong in the file. What the
    file lists nowhere is in no split.
    """
    if "splits" in options:
        places = _listed(names, what, Path(options["splits"]))
    else:
        places = _shared(names, what, options)
    for one, other in combinations(SPLITS, 2):
        shared = np.intersect1d(places[one], places[other])
        if len(shared):
            raise DataError(
                f"{options['file']}: {what} {str(names[shared[0]])!r} is in both {one} and "
                f"{other}; each may be in one split only"
            )
    return places


def _shared(names: np.ndarray, what: str, options: Mapping[str, Any]) -> Places:
    """Part by share, in an order that depends on the number of names and the seed alone."""
    validation, test = options["validation_share"], options["test_share"]
    if validation + test >= 1:
        raise DataError(
            f"options.validation_share: {validation:g}: together with test_share, {test:g}, it "
            "must be below 1, to leave something for meta-train"
        )
    n = len(names)
    if n < len(SPLITS):
        raise DataError(
            f"{options['file']}: {n} {what}{'s' * (n > 1)}; at least {len(SPLITS)} are needed, "
            "one for each split"
        )
    draws = uniforms(stream_key("arrays", "splits", options["split_seed"]), np.zeros(1), n)[0]
    order = np.argsort(draws, kind="stable")
    # Every split gets one at least, and meta-train what is left.
    test_count = min(max(1, round(n * test)), n - 2)
    validation_count = min(max(1, round(n * validation)), n - 1 - test_count)
    test_part, validation_part, train_part = (
        np.sort(part) for part in np.split(order, [test_count, test_count + validation_count])
    )
    return {"train": train_part, "validation": validation_part, "test": test_part}


def _listed(names: np.ndarray, what: str, path: Path) -> Places:
    """Read {"train": [...], "validation": [...], "test": [...]}."""
    lists = _read(path)
    place_of = {str(name): place for place, name in enumerate(names)}
    seen: dict[str, str] = {}
    places: dict[Split, np.ndarray] = {}
    for split in SPLITS:
        listed = [str(name) for name in lists[split]]
        for name in listed:
            if name not in place_of:
                close = difflib.get_close_matches(name, list(place_of), n=1)
                right = f"did you mean {close[0]}?" if close else f"known: {shown_names(names)}"
                raise DataError(f"{path}: {split}: {name!r}: the data have no such {what}: {right}")
            if name in seen:
                raise DataError(
                    f"{path}: {split}: {name!r}: is in {seen[name]}, too; a {what} must be in one "
                    "split only, once"
                )
            seen[name] = split
        if not listed:
            raise DataError(f"{path}: {split}: is empty; it must list a {what} at least")
        places[split] = np.array(sorted(place_of[name] for name in listed), dtype=np.int64)
    return places


def _read(path: Path) -> dict[str, list[Any]]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"options.splits: {path}: cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: is not JSON: {error}") from None
    if not isinstance(content, dict):
        raise DataError(f"{path}: must be a mapping with the keys {', '.join(SPLITS)}")
    for key in content:
        if key not in SPLITS:
            raise DataError(f"{path}: {key!r}: must be one of {', '.join(SPLITS)}")
    for split in SPLITS:
        listed = content.get(split)
        if not isinstance(listed, list):
            raise DataError(f"{path}: {split}: must be a list of names")
        for name in listed:
            if isinstance(name, bool) or not isinstance(name, str | int):
                raise DataError(f"{path}: {split}: {name!r}: must be text or a whole number")
    return content

"""Runs jobs on small data, in folders of their own."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from search.config import Config
from search.jobs import Progress
from search.run_job import Publish, run_job
from search.trial_folder import TrialFolder
from tests.search.small_runs import NoisyPrototypes, small_config

CONFIG = small_config("pretrain", "classification", rungs=(8, 16))


class Published:
    """Notes how many episodes were sealed whenever they are to be published."""

    def __init__(self) -> None:
        self.rows: list[int] = []

    def __call__(self, folder: TrialFolder, *, ended: bool) -> None:
        self.rows.append(len(folder.table()))
        self.ended = ended


def nowhere(folder: TrialFolder, *, ended: bool) -> None:
    """Publish nothing."""


def start(
    path: Path,
    source: NoisyPrototypes | None = None,
    config: Config = CONFIG,
    publish: Publish = nowhere,
    clock: Callable[[], float] = lambda: 0.0,
    **options: Any,
) -> Iterator[Progress]:
    source = source or NoisyPrototypes()
    options = {"by": uuid.uuid4().hex, **options}
    return run_job(config, source, TrialFolder(path), publish, clock, **options)


def table(path: Path) -> pd.DataFrame:
    """Return the sealed episodes without what was measured by a clock, lists as text."""
    frame = TrialFolder(path).table().drop(columns="seconds")
    for name in ("classes", "loss_curve", "score_curve"):
        frame[name] = [str(np.asarray(value).tolist()) for value in frame[name]]
    return frame

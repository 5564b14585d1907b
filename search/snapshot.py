"""All that is needed to go on with a training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor


@dataclass(frozen=True)
class Snapshot:
    """A point in a training.

    tensors: named "meta/<parameter>", "state/<buffer>", "optimizer/<slot>/<parameter>"; with a
        leading axis of seeds where a configuration has several.
    state: counters and choices, JSON values only ("episodes", "train_seconds", ...).
    """

    tensors: dict[str, Tensor]
    state: dict[str, Any]

"""A trial that only tells of itself. Imports neither torch nor search: its process is small."""

from __future__ import annotations

import json
import time
from typing import Any

from ray import tune

JOB, PROGRESS, WANTED = "job", "progress", "wanted"


class TellingActor(tune.Trainable):
    """Tells so many `reports`, one every `pause` seconds, and is complete.

    It is told so in the place of a tracking URI, which it has no use for.
    """

    @classmethod
    def default_resource_request(cls, config: dict[str, Any]) -> Any:
        """Return what the driver wants it to be given."""
        return tune.PlacementGroupFactory([config[WANTED]])

    def setup(self, config: dict[str, Any], tracking_uri: str = "") -> None:
        """Start."""
        self._told = json.loads(tracking_uri)
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Start anew in the same process."""
        self._number = json.loads(new_config[JOB])["number"]
        self._left, self._pause = self._told["reports"], self._told["pause"]
        return True

    def step(self) -> dict[str, Any]:
        """Tell."""
        time.sleep(self._pause)
        self._left -= 1
        ended = self._left == 0
        told: dict[str, Any] = {"phase": "final" if ended else "train", "episodes": 100}
        if ended:
            value = 1.0 + self._number / 1000
            told |= {"value": value, "history": [{"episodes": 100, "value": value}]}
        return {PROGRESS: json.dumps(told), "done": ended}

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Save nothing."""

    def load_checkpoint(self, checkpoint: Any) -> None:
        """Load nothing."""

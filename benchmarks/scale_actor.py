"""A trial that only tells of itself. No torch, nothing of search: its process is small."""

from __future__ import annotations

import json
import time
from typing import Any

from ray import tune

from benchmarks.scale_story import plain_words, words

JOB, PROGRESS, WANTED = "job", "progress", "wanted"


class TellingActor(tune.Trainable):
    """Says a word every `pause` seconds: so many `reports`, or what a trial of the `seed` tells.

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
        job = json.loads(new_config[JOB])
        number, config = job["number"], job["config"]
        if "reports" in self._told:
            self._words = plain_words(number, self._told["reports"])
        else:
            outer_lr, rungs = config["hyper"]["outer_lr"], config["rungs"]
            self._words = words(number, outer_lr, self._told["seed"], rungs)
        return True

    def step(self) -> dict[str, Any]:
        """Tell."""
        time.sleep(self._told["pause"])
        told = self._words.pop(0)
        return {PROGRESS: json.dumps(told), "done": not self._words}

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Save nothing."""

    def load_checkpoint(self, checkpoint: Any) -> None:
        """Load nothing."""

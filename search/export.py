"""Export: `best.yaml`, a configuration with its results and where they come from."""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from search import __version__
from search.config import Config
from search.output_file import write_output

HEADER = "# Train it again: metasweep train {name}\n"


def document(
    config: Config, entry: Mapping[str, Any], provenance: Mapping[str, Any]
) -> dict[str, Any]:
    """Return what an exported file says.

    entry: the configuration's row of the leaderboard.
    provenance: from `search.tracking_reader.Reader.provenance`.
    """
    results = {"metric": entry["metric"], "rank": int(entry["rank"])}
    for split in ("validation", "test"):
        results[split] = {
            part: _finite(entry[f"{split}_{part}"]) for part in ("mean", "ci95_low", "ci95_high")
        }
    results["confirmed"] = bool(entry["confirmed"])
    results["failed_seeds"] = int(entry["failed_seeds"])
    results["train_seconds"] = _finite(entry["train_seconds"])
    return {
        "metasweep": __version__,
        "config": config.to_dict(),
        "results": results,
        "provenance": dict(provenance),
    }


def write(path: Path, exported: Mapping[str, Any]) -> None:
    """Write an exported configuration as YAML, atomically."""
    # Through JSON, so that no two places share an object: YAML would write the second as an alias.
    plain = json.loads(json.dumps(exported))
    text = yaml.safe_dump(plain, sort_keys=False, allow_unicode=True, width=100)
    # Who copies the line into a shell gets the file, whatever its name; a comment is one line.
    name = shlex.quote(path.name) if path.name.isprintable() else "FILE"
    write_output(path, HEADER.format(name=name) + text)


def _finite(value: Any) -> float | None:
    return float(value) if math.isfinite(value) else None

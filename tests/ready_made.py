"""Ready-made searches on made-up data."""

from __future__ import annotations

from pathlib import Path

from search.spec_source import read_source
from tests.cli import call

OWN_DATA = {
    "arrays": {"file": "rows.csv", "task": "sensor", "target": "reading"},
    "image-folder": {"folder": "pictures"},
    "translation": {
        "folder": "pairs",
        "train_languages": "[aaa, bbb]",
        "validation_languages": "ccc",
        "test_languages": "ddd",
    },
}
"""What searches of a user's own data need to be told: values, as YAML, of options of their task."""


def settings(name: str) -> dict[str, str]:
    """Return what must be set for a ready-made search to be a whole specification."""
    options = OWN_DATA.get(name, {})
    return {f"problem.options.{option}": value for option, value in options.items()}


def assert_runs_dry(name: str, folder: Path, **changes: str) -> None:
    """Validate a ready-made search on the data in a folder.

    changes: values of keys of `problem`, where the data are fewer than the real ones; "__" stands
        for a dot.
    """
    more = {f"problem.{key.replace('__', '.')}": value for key, value in changes.items()}
    flags = [f"--set={key}={value}" for key, value in {**settings(name), **more}.items()]
    done = call("search", name, "--dry-run", f"--data={folder}", *flags, folder=folder)
    assert done.code == 0, done.output
    assert f"# problem {read_source(name)['problem']['task']}-" in done.output
    assert done.output.endswith("; nothing was run\n")

"""What a job on a cluster does before anything else, with Python's own modules alone.

The code is packed by whoever submits; Python and all that is installed are the cluster's.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, distribution, requires
from pathlib import Path

from search.errors import UserError
from search.versions import NAMES, differences, versions_here

VERSIONS = "METASWEEP_SUBMITTER_VERSIONS"
STORAGE = "METASWEEP_STORAGE"
TRACKING = "MLFLOW_TRACKING_URI"
HOME_STORAGE = "~/metasweep-store"

COMPARED = tuple(name for name in NAMES if name != "metasweep")
"""metasweep's own code is packed, so that its version cannot differ."""


def is_submitted() -> bool:
    """Whether this process is a job that `metasweep submit` or `resume --address` started."""
    return VERSIONS in os.environ


def enter(arguments: Sequence[str]) -> None:
    """Check that the cluster is fit for the job, and set defaults that outlive it.

    arguments: of the command. A job's current folder is gone after it, so that a store beside it
    would be lost. Exits with 2, and what is wrong, where the versions here are not those of the
    machine that submitted, or a package is missing.
    """
    if not is_submitted():
        return
    try:
        check_versions(os.environ[VERSIONS])
        set_stores(arguments)
    except UserError as error:
        print(f"error {error}", file=sys.stderr)
        sys.exit(error.exit_code)


def check_versions(submitter: str) -> None:
    """Compare with the submitter's versions, given as JSON. Raises UserError that names each."""
    differing = differences(json.loads(submitter), versions_here(), COMPARED)
    if differing:
        raise UserError(
            "versions on the cluster (there) and on the machine that submitted (here) differ:\n"
            + "".join(f"  {line}\n" for line in differing)
            + "Install the same on both: Ray's version exactly, Python's and torch's to the minor "
            "version"
        )
    missing = [name for name in _requirements() if not _is_installed(name)]
    if missing:
        raise UserError(
            f"{sys.executable} on the cluster lacks {', '.join(missing)}\n"
            "Install what metasweep needs on all nodes: pip install 'metasweep[cluster]'. If Ray "
            "runs in another Python there, activate its environment before `ray start`"
        )


def set_stores(arguments: Sequence[str]) -> None:
    """Set where things are kept, unless the cluster says so. Raises UserError for relative paths.

    A search that goes on knows its MLflow store by itself.
    """
    storage = Path(os.environ.get(STORAGE) or HOME_STORAGE).expanduser()
    if not storage.is_absolute():
        raise UserError(f"{STORAGE}: {storage}: must be an absolute path, on the cluster")
    os.environ[STORAGE] = str(storage)
    if arguments[:1] == ["search"] and not os.environ.get(TRACKING):
        os.environ[TRACKING] = f"sqlite:///{storage / 'mlflow.db'}"
    tracking = os.environ.get(TRACKING, "")
    if is_relative(tracking):
        raise UserError(f"{TRACKING}: {tracking}: must be an absolute path, on the cluster")


def is_relative(uri: str) -> bool:
    """Whether a store's address depends on the folder it is read in."""
    if uri.startswith("sqlite:///"):
        return not uri.startswith(("sqlite:////", "sqlite:///~"))
    return bool(uri) and ":" not in uri and not uri.startswith(("/", "~", "databricks"))


def _requirements() -> list[str]:
    """Return the packages that metasweep cannot run without."""
    try:
        wanted = requires("metasweep") or []
    except PackageNotFoundError:
        return []
    needed = [text for text in wanted if "extra ==" not in text]
    return [found[0] for text in needed if (found := re.match(r"[A-Za-z0-9._-]+", text))]


def _is_installed(name: str) -> bool:
    try:
        distribution(name)
    except PackageNotFoundError:
        return False
    return True

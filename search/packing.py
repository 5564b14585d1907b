"""The folder that a job runs in on a cluster: metasweep as it is here, the user's code, a search.

Ray tells folders apart by their content: what is equal is sent once.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

import yaml

from search.extensions import SORTS
from search.house import HOME, PACKAGES
from search.own_code import OwnCode
from search.provenance import COMMIT_FILE, git_commit

SPEC_FILE = "spec.yaml"
NOT_CODE = shutil.ignore_patterns("__pycache__", "*.pyc", ".*")


@dataclass(frozen=True)
class Packed:
    """How much a folder holds: files, and bytes before they are compressed."""

    files: int
    size: int


def pack(folder: Path, spec: Mapping[str, Any] | None, own: OwnCode | None) -> Packed:
    """Fill an empty folder with all that a job needs and the cluster may lack.

    spec: the resolved specification, for `metasweep search spec.yaml` there.
    """
    for name in PACKAGES:
        shutil.copytree(HOME / name, folder / name, ignore=NOT_CODE)
    commit = git_commit()
    if commit is not None:
        (folder / "search" / COMMIT_FILE).write_text(commit + "\n")
    with suppress(PackageNotFoundError):  # Not installed, it has no version to tell.
        _write_distribution(folder, distribution("metasweep"), groups=[])
    if own is not None:
        for name, file in own.files.items():
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target)
        for found in own.distributions:
            _write_distribution(folder, found, [sort.group for sort in SORTS.values()])
    if spec is not None:
        (folder / SPEC_FILE).write_text(yaml.safe_dump(dict(spec), sort_keys=False))
    sizes = [file.stat().st_size for file in folder.rglob("*") if file.is_file()]
    return Packed(len(sizes), sum(sizes))


def _write_distribution(folder: Path, found: Distribution, groups: Sequence[str]) -> None:
    """Leave what tells Python a package's version, requirements and entry points."""
    info = folder / f"{found.name.replace('-', '_')}-{found.version}.dist-info"
    info.mkdir()
    lines = ["Metadata-Version: 2.1", f"Name: {found.name}", f"Version: {found.version}"]
    lines += [f"Requires-Dist: {requirement}" for requirement in found.requires or []]
    (info / "METADATA").write_text("\n".join(lines) + "\n")
    entries = []
    for group in groups:
        offers = [offer for offer in found.entry_points if offer.group == group]
        entries += [f"[{group}]"] if offers else []
        entries += [f"{offer.name} = {offer.value}" for offer in offers]
    (info / "entry_points.txt").write_text("\n".join(entries) + "\n")

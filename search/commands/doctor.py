"""`metasweep doctor`."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from search.commands.options import DEFAULT_STORAGE, Data, Storage, TrackingUri, absolute
from search.errors import UserError
from search.table_text import terminal

if TYPE_CHECKING:
    from episodes.archives import DataFile

MARKS = {"ok": "[green]ok[/green]", "note": "[yellow]--[/yellow]", "wrong": "[red]!![/red]"}


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at: how it is ("ok", "note", "wrong"), and what to do about it."""

    mark: str
    what: str
    found: str
    advice: str = ""


def doctor(
    tracking_uri: TrackingUri = None, storage: Storage = DEFAULT_STORAGE, data: Data = None
) -> None:
    """Look at versions, devices, data, stores and Ray: what works, what to do about the rest."""
    console = Console()
    table = Table(box=None, padding=(0, 1), show_header=False)
    findings = []
    checks: tuple[Callable[[], Iterator[Finding]], ...] = (
        _versions,
        _devices,
        lambda: _data(absolute(data)),
        lambda: _tracking(tracking_uri),
        lambda: _storage(storage.expanduser().absolute()),
        _ray,
    )
    for check in checks:
        findings += list(check())
    for finding in findings:
        table.add_row(MARKS[finding.mark], terminal(finding.what), terminal(finding.found))
        if finding.advice:
            table.add_row("", "", Text(finding.advice, style="dim"))
    console.print(table)
    if any(finding.mark == "wrong" for finding in findings):
        raise typer.Exit(1)


def _versions() -> Iterator[Finding]:
    from search.provenance import versions

    found = ", ".join(f"{package} {version}" for package, version in versions().items())
    yield Finding("ok", "versions", found)


def _devices() -> Iterator[Finding]:
    import torch

    from networks.gpu import kernels_run
    from search.provenance import hardware

    if torch.cuda.is_available():
        yield Finding("ok", "devices", hardware())
        if not kernels_run(torch.device("cuda")):
            advice = "with a C compiler and Python's headers, networks of images run faster"
            yield Finding("note", "GPU kernels", "cannot be compiled here", advice)
    else:
        advice = "trials run on the CPU; with a GPU, set resources.gpu in the specification"
        yield Finding("note", "devices", f"{hardware()}, no GPU", advice)


def _data(data: str | None) -> Iterator[Finding]:
    from episodes import DataError, data_report

    try:
        files = data_report(data)
    except DataError as error:
        yield Finding("wrong", "data", str(error))
        return
    absent: dict[tuple[str, str], list[DataFile]] = {}
    for file in files:
        if file.path is not None:
            yield Finding("ok", f"data, {file.task}", str(file.path))
        elif file.downloads:
            yield Finding("note", f"data, {file.task}", f"{file.file}: downloaded on first use")
        else:
            absent.setdefault((file.task, file.advice), []).append(file)
    for (task, advice), those in absent.items():
        names = ", ".join(file.file for file in those)
        yield Finding(
            "note",
            f"data, {task}",
            f"{names}: not in {those[0].folder}",
            "needed for this task only; "
            + (advice or "without --data and METASWEEP_DATA it is downloaded"),
        )


def _tracking(tracking_uri: str | None) -> Iterator[Finding]:
    from search.masking import mask
    from search.tracking_client import check, resolve_uri

    uri = resolve_uri(tracking_uri)
    try:
        check(uri)
    except UserError as error:
        first, *rest = str(error).splitlines()
        yield Finding("wrong", "tracking", first, " ".join(rest))
    else:
        yield Finding("ok", "tracking", mask(uri, uri))


def _storage(folder: Path) -> Iterator[Finding]:
    from search.search_folder import searches_in

    existing = next(path for path in (folder, *folder.parents) if path.exists())
    if not os.access(existing, os.W_OK):
        advice = "give a folder that you may write to: --storage"
        yield Finding("wrong", "storage", f"{existing}: not writable", advice)
    else:
        names = searches_in(folder)
        listed = f": {', '.join(names)}" if names else ", no search yet"
        yield Finding("ok", "storage", f"{folder}{listed}")


def _ray() -> Iterator[Finding]:
    address = os.environ.get("RAY_ADDRESS")
    if not address:
        yield Finding("ok", "ray", "local: started for each search on this machine alone")
        return
    from search.ray_cluster import room, start_ray, stop_ray

    try:
        start_ray()
    except UserError as error:
        first, *rest = str(error).splitlines()
        yield Finding("wrong", "ray", first, " ".join(rest))
        return
    have = room()
    stop_ray()
    yield Finding("ok", "ray", f"{address}: {have.cpu:.0f} CPU, {have.gpu:.0f} GPU")

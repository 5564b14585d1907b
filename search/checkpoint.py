"""Checkpoints: tensors as safetensors, everything else as JSON. Loading one executes nothing.

A checkpoint is a folder of two files. `checkpoint.json` names the tensor file with its SHA-256 and
is replaced last, in one step: until then the folder holds the checkpoint before it, whole.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
from safetensors import SafetensorError
from torch import Tensor

from search.atomic_file import write_atomically
from search.config import Config
from search.errors import UserError
from search.flatten import differences
from search.snapshot import Snapshot

FORMAT = "metasweep-checkpoint-1"
FILE_NAME = "checkpoint.json"
DIFFERENCES_SHOWN = 3


class CheckpointError(UserError):
    """A checkpoint is missing, damaged or not one of ours."""


@dataclass(frozen=True)
class Shard:
    """A file of the episode table: its name, number of rows and the SHA-256 of its bytes."""

    name: str
    rows: int
    sha256: str


@dataclass(frozen=True)
class Checkpoint:
    """What `save` wrote; `shards` are the files of episodes that were sealed up to then."""

    snapshot: Snapshot
    config: Config
    shards: tuple[Shard, ...]


def save(folder: Path, snapshot: Snapshot, config: Config, shards: Sequence[Shard] = ()) -> None:
    """Write a checkpoint into `folder`, in place of the one that may be there, atomically."""
    folder.mkdir(parents=True, exist_ok=True)
    content = safetensors.torch.save(
        {name: value.detach().cpu().contiguous() for name, value in snapshot.tensors.items()}
    )
    sha256 = hashlib.sha256(content).hexdigest()
    tensor_file = f"tensors-{sha256[:16]}.safetensors"
    write_atomically(folder / tensor_file, content)
    description = {
        "format": FORMAT,
        "config_hash": config.hash,
        "tensors": {"file": tensor_file, "sha256": sha256},
        "state": snapshot.state,
        "shards": [asdict(shard) for shard in shards],
        "config": config.to_dict(),
    }
    write_atomically(folder / FILE_NAME, json.dumps(description, indent=1).encode())
    for old in folder.glob("tensors-*.safetensors"):
        if old.name != tensor_file:
            old.unlink()


def load(path: Path, config: Config | None = None) -> Checkpoint:
    """Read a checkpoint, given its folder or its JSON file, with all tensors on the CPU.

    config: what the checkpoint must have been made by.
    Raises CheckpointError when it is missing, damaged or foreign, and UserError when it belongs to
    another configuration than `config`.
    """
    file = path / FILE_NAME if path.is_dir() else path
    description = _read_description(file)
    try:
        found = Config.from_dict(description["config"])
        shards = tuple(Shard(**shard) for shard in description["shards"])
        state = dict(description["state"])
        tensor_file = file.parent / Path(description["tensors"]["file"]).name
        sha256 = description["tensors"]["sha256"]
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"checkpoint {file}: a field is missing or wrong ({error}); "
            "it was written by another version of metasweep or changed by hand"
        ) from error
    if config is not None and config.hash != found.hash:
        raise UserError(_difference(file, found, config))
    return Checkpoint(Snapshot(_read_tensors(tensor_file, sha256), state), found, shards)


def _read_description(file: Path) -> Mapping[str, Any]:
    try:
        description = json.loads(file.read_bytes())
    except FileNotFoundError:
        raise CheckpointError(
            f"checkpoint {file}: no such file; give a checkpoint's folder or its {FILE_NAME}"
        ) from None
    except OSError as error:
        raise CheckpointError(f"checkpoint {file}: cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise CheckpointError(
            f"checkpoint {file}: truncated, or not a checkpoint of metasweep"
        ) from error
    if not isinstance(description, dict) or description.get("format") != FORMAT:
        raise CheckpointError(
            f"checkpoint {file}: not a checkpoint of this version of metasweep "
            f'(it should say "format": "{FORMAT}")'
        )
    return description


def _read_tensors(file: Path, sha256: str) -> dict[str, Tensor]:
    try:
        content = file.read_bytes()
    except OSError as error:
        raise CheckpointError(
            f"checkpoint {file.parent}: its tensor file {file.name} cannot be read "
            f"({error.strerror})"
        ) from error
    if hashlib.sha256(content).hexdigest() != sha256:
        raise CheckpointError(
            f"checkpoint {file}: truncated or changed, its {len(content)} bytes "
            f"do not have the SHA-256 that {FILE_NAME} states"
        )
    try:
        return safetensors.torch.load(content)
    except SafetensorError as error:
        raise CheckpointError(f"checkpoint {file}: not a safetensors file ({error})") from error


def _difference(file: Path, found: Config, wanted: Config) -> str:
    """Say in which fields a checkpoint's configuration differs from the one asked for."""
    differing = [
        f"{key} is {theirs!r}, asked for {ours!r}"
        for key, theirs, ours in differences(found.to_dict(), wanted.to_dict())
    ]
    more = len(differing) - DIFFERENCES_SHOWN
    shown = "; ".join(differing[:DIFFERENCES_SHOWN]) + (f"; and {more} more" if more > 0 else "")
    return f"checkpoint {file} belongs to another configuration: {shown}"

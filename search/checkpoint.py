"""Checkpoints: tensors as safetensors, everything else as JSON. Loading one executes nothing.

A checkpoint is a folder of two files. `checkpoint.json` names the tensor file with its SHA-256 and
is replaced last, in one step: until then the folder holds the checkpoint before it, whole.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
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
from search.plain_text import cut, visible
from search.read_file import UnreadableError, read_bounded
from search.snapshot import Snapshot

FORMAT = "metasweep-checkpoint-1"
FILE_NAME = "checkpoint.json"
DIFFERENCES_SHOWN = 3
LARGEST_DESCRIPTION = 1 << 24
DEEPEST = 32
REASON_CHARACTERS = 200


class CheckpointError(UserError):
    """A checkpoint is missing, damaged or not one of ours, or cannot be read just now."""


class DamagedError(CheckpointError):
    """What a checkpoint was made of is proven not to be there: missing, cut short or changed."""


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
    Raises DamagedError when it is missing or damaged, CheckpointError when it is foreign or cannot
    be read, and UserError when it belongs to another configuration than `config`. Values are of the
    right kind; whether tensors and state fit the configuration is for `search.checkpoint_checks` to
    say.
    """
    file = path / FILE_NAME if os.path.isdir(path) else path
    description = _read_description(file)
    try:
        found = Config.from_dict(description["config"])
        shards = tuple(_shard(shard) for shard in description["shards"])
        state = dict(description["state"])
        tensor_file = file.parent / _plain_name(description["tensors"]["file"])
        sha256 = description["tensors"]["sha256"]
        differs = config is not None and config.hash != found.hash
    except (KeyError, TypeError, ValueError) as error:
        reason = cut(visible(str(error)), REASON_CHARACTERS)
        raise CheckpointError(
            f"checkpoint {file}: a field is missing or wrong ({reason}); "
            "it was written by another version of metasweep or changed by hand"
        ) from error
    if differs and config is not None:
        raise UserError(_difference(file, found, config))
    return Checkpoint(Snapshot(_read_tensors(tensor_file, sha256), state), found, shards)


def _plain_name(name: Any) -> str:
    """Return the name of a file in the folder at hand; anything else could lead out of it."""
    if not re.fullmatch(r"\w[\w.-]*", name, re.ASCII):
        raise ValueError(f"{name!r} is not the name of a file beside it")
    return name


def _shard(description: Mapping[str, Any]) -> Shard:
    shard = Shard(**description)
    _plain_name(shard.name)
    if not (type(shard.rows) is int and shard.rows >= 0 and isinstance(shard.sha256, str)):
        raise ValueError(f"rows or sha256 of the shard {shard.name}")
    return shard


def _read_description(file: Path) -> Mapping[str, Any]:
    try:
        description = json.loads(read_bounded(file, LARGEST_DESCRIPTION))
    except FileNotFoundError:
        raise DamagedError(
            f"checkpoint {file}: no such file; give a checkpoint's folder or its {FILE_NAME}"
        ) from None
    except UnreadableError as error:
        raise CheckpointError(f"checkpoint {file}: {error}") from None
    # RecursionError: brackets within brackets, thousands of them.
    except (ValueError, RecursionError) as error:
        kind = DamagedError if isinstance(error, ValueError) else CheckpointError
        raise kind(f"checkpoint {file}: truncated, or not a checkpoint of metasweep") from error
    if _is_deep(description, DEEPEST):
        raise CheckpointError(f"checkpoint {file}: nested too deeply, more than {DEEPEST} levels")
    if not isinstance(description, dict) or description.get("format") != FORMAT:
        raise CheckpointError(
            f"checkpoint {file}: not a checkpoint of this version of metasweep "
            f'(it should say "format": "{FORMAT}")'
        )
    return description


def _read_tensors(file: Path, sha256: str) -> dict[str, Tensor]:
    try:
        content = read_bounded(file, _memory())
    except FileNotFoundError as error:
        raise DamagedError(
            f"checkpoint {file.parent}: its tensor file {file.name} is missing"
        ) from error
    except UnreadableError as error:
        raise CheckpointError(
            f"checkpoint {file.parent}: its tensor file {file.name} {error}"
        ) from error
    if hashlib.sha256(content).hexdigest() != sha256:
        raise DamagedError(
            f"checkpoint {file}: truncated or changed, its {len(content)} bytes "
            f"do not have the SHA-256 that {FILE_NAME} states"
        )
    try:
        return safetensors.torch.load(content)
    except MemoryError:  # All are copied once.
        raise CheckpointError(
            f"checkpoint {file}: does not fit into the memory that is left"
        ) from None
    # Of shapes or kinds of numbers that torch does not know.
    except (SafetensorError, ValueError, KeyError, RuntimeError, TypeError) as error:
        reason = cut(visible(str(error)), REASON_CHARACTERS)
        raise CheckpointError(f"checkpoint {file}: not a safetensors file ({reason})") from error


def _is_deep(value: Any, levels: int) -> bool:
    below = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return levels == 0 or any(_is_deep(each, levels - 1) for each in below)


def _memory() -> int:
    """Return the bytes of this machine's memory."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _difference(file: Path, found: Config, wanted: Config) -> str:
    """Say in which fields a checkpoint's configuration differs from the one asked for."""
    differing = [
        f"{visible(key)} is {cut(repr(theirs), REASON_CHARACTERS)}, asked for {ours!r}"
        for key, theirs, ours in differences(found.to_dict(), wanted.to_dict())
    ]
    more = len(differing) - DIFFERENCES_SHOWN
    shown = "; ".join(differing[:DIFFERENCES_SHOWN]) + (f"; and {more} more" if more > 0 else "")
    return f"checkpoint {file} belongs to another configuration: {shown}"

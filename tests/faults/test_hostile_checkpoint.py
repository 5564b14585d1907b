"""A checkpoint from anywhere is judged, or refused in one message; nothing in it is executed."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from tests.cli import call
from tests.faults.hostile import refused, refused_in_limits

Description = dict[str, Any]


def description(folder: Path) -> Description:
    return json.loads((folder / "checkpoint.json").read_text())


def describe(folder: Path, content: Description) -> None:
    (folder / "checkpoint.json").write_text(json.dumps(content))


def give_tensors(folder: Path, content: bytes) -> None:
    """Put other bytes in place of the tensors, with the digest that they have."""
    described = description(folder)
    (folder / described["tensors"]["file"]).write_bytes(content)
    described["tensors"]["sha256"] = hashlib.sha256(content).hexdigest()
    describe(folder, described)


def tensors(folder: Path) -> dict[str, torch.Tensor]:
    return safetensors.torch.load_file(folder / description(folder)["tensors"]["file"])


def evaluate(folder: Path, path: Path | None = None) -> str:
    return refused("evaluate", str(path or folder), "--episodes", "3", folder=folder)


class Bomb:
    """Makes a file when it is unpickled."""

    def __init__(self, file: Path):
        self.file = file

    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (self.file,))


def test_the_checkpoint_that_the_others_are_made_of_is_judged(whole: Path) -> None:
    done = call("evaluate", str(whole), "--episodes", "3", folder=whole)
    assert done.code == 0, done.output
    assert "over 3 episodes" in done.output


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[" * 100_000, "truncated, or not a checkpoint of metasweep"),
        (b'{"a":' * 500 + b"1" + b"}" * 500, "nested too deeply, more than 32 levels"),
        (b'{"format": ' + b"9" * 5000 + b"}", "truncated, or not a checkpoint of metasweep"),
        (b'{"format": "metasweep-checkpoint-1", "a": "\xff"}', "truncated, or not a checkpoint"),
        (b" " * (1 << 24) + b"{}", "larger than 16 MiB"),
        (b"null", "not a checkpoint of this version of metasweep"),
    ],
)
def test_a_description_of_any_size_and_depth(whole: Path, content: bytes, message: str) -> None:
    (whole / "checkpoint.json").write_bytes(content)
    assert f"checkpoint.json: {message}" in evaluate(whole)


CHANGES: list[tuple[str, Any, str]] = [
    ("tensors/file", "../../etc/passwd", "'../../etc/passwd' is not the name of a file beside it"),
    ("tensors/file", "/dev/zero", "'/dev/zero' is not the name of a file beside it"),
    ("tensors/file", "a\nb", "'a\\nb' is not the name of a file beside it"),
    ("tensors/file", "..", "'..' is not the name of a file beside it"),
    ("tensors/file", ["x"], "a field is missing or wrong"),
    ("tensors/file", "x" * 300, "cannot be read: File name too long"),
    ("tensors", [], "a field is missing or wrong"),
    ("tensors/sha256", None, "truncated or changed"),
    ("shards", [{"name": "../../x.parquet", "rows": 1, "sha256": "0"}], "'../../x.parquet' is not"),
    ("shards", [{"name": "x.parquet", "rows": -1, "sha256": "0"}], "rows or sha256"),
    ("shards", [{"name": "x.parquet", "rows": 1, "sha256": "0", "more": 1}], "a field is missing"),
    ("shards", 3, "a field is missing or wrong"),
    ("state", 3, "a field is missing or wrong"),
    ("state/episodes", "many", "state.episodes: 'many': is no number"),
    ("state/episodes", float("nan"), "state.episodes: nan: is no number"),
    ("state/episodes", 10**30, "state.episodes: 1000000000000000000000000000000: is no number"),
    ("state/train_seconds", float("inf"), "state.train_seconds: inf: is no time"),
    ("state/history", None, "state.history: is no list"),
    ("state/smaller", 0, "state.smaller: 0: is no number"),
    ("state/formulation", None, "state.formulation: is no mapping"),
    ("state/formulation/chunk", 0, "state.formulation.chunk: 0: must be at least 1"),
    ("state/formulation/chunk", 10**15, "state.formulation.chunk: 1000000000000000: must be at"),
    ("state/formulation/more", 1, "state.formulation.more: unknown key"),
    ("config", None, "a field is missing or wrong"),
    ("config/threads", 10**9, "threads: 1000000000: must be at most 1024"),
    ("config/threads", "x", "threads: 'x': should be a valid integer"),
    ("config/device", "cpu; rm -rf /", "device: 'cpu; rm -rf /': must be cpu, cuda, cuda:0,"),
    ("config/seeds", 10**6, "seeds: 1000000: must be at most 1000"),
    ("config/seeds", 3, "meta/layer1.weight is (8, 1) torch.float32, and must be (3, 8, 1)"),
    ("config/algorithm", "no-such", "algorithm: 'no-such': unknown algorithm"),
    ("config/algorithm", "../../x:y", "must be module:attribute"),
    ("config/algorithm", "os:system", "algorithm: 'os:system': is of type builtin_function"),
    ("config/hyper/inner_lr", float("nan"), "hyper.inner_lr: nan: must be a finite number"),
    ("config/hyper/inner_steps", 10**9, "hyper.inner_steps: 1000000000: must be a whole number"),
    ("config/hyper/more", 1, "hyper.more: unknown key"),
    ("config/settings/width", 10**9, "settings.width: 1000000000: must be a whole number from 1"),
    ("config/settings/width", 9, "meta/layer1.weight is (8, 1) torch.float32, and must be (9, 1)"),
    ("config/settings/depth", 3, "lacks meta/layer3.bias, meta/layer3.weight;"),
    ("config/settings/depth", 1, "which nothing reads"),
    ("config/problem/shots", 10**12, "problem.shots: 1000000000000: must be at most 10000"),
    ("config/problem/ways", 5, "has no meaning for the regression task sinusoid"),
    ("config/problem/split", "../../x", "sinusoid has no split '../../x'"),
    (
        "config/problem/kind",
        "classification",
        "problem.kind: 'classification': sinusoid is regress",
    ),
    ("config/problem/task", "a" * 5000, "problem.task: 'aaaa"),
    ("config/problem/data_digest", "<script>", "problem.data_digest: <script>: the data found"),
    ("config/rungs", [3, 2], "rungs: [3, 2]: must ascend"),
    ("config/rungs", list(range(10**5)), "rungs: [0, 1, 2"),
    ("config/formulation", {"chunk": -1}, "formulation.chunk: -1: must be at least 1"),
    ("config/\x1b[2J", 1, "a field is missing or wrong"),
]


@pytest.mark.parametrize(("key", "value", "message"), CHANGES)
def test_a_wrong_value_is_named(whole: Path, key: str, value: Any, message: str) -> None:
    content = description(whole)
    *sections, last = key.split("/")
    node = content
    for section in sections:
        node = node[section]
    node[last] = value
    describe(whole, content)
    assert message in evaluate(whole)


def header(content: Any, data: bytes = b"") -> bytes:
    text = content if isinstance(content, bytes) else json.dumps(content).encode()
    return struct.pack("<Q", len(text)) + text + data


def entry(shape: list[int], size: int, dtype: str = "F32") -> dict[str, Any]:
    return {"x": {"dtype": dtype, "shape": shape, "data_offsets": [0, size]}}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        struct.pack("<Q", 2**63),
        struct.pack("<Q", 2**40) + b"{}",
        header(b"[" * 100_000),
        header({"x": 1}),
        header(entry([2**62, 2**62], 0)),
        header(entry([2**31], 2**33)),
        header(entry([-1], 4), b"0000"),
        header(entry([1], 4, "NO_SUCH"), b"0000"),
        header(entry([1], 8), b"0000"),
        header({**entry([1], 4), "y": entry([1], 4)["x"]}, b"0000"),
        pickle.dumps({"meta": 1}),
    ],
)
def test_tensors_with_absurd_headers(whole: Path, content: bytes) -> None:
    give_tensors(whole, content)
    assert "not a safetensors file (" in evaluate(whole)


def test_a_pickle_in_place_of_tensors_is_not_loaded(whole: Path, tmp_path: Path) -> None:
    exploded = tmp_path / "exploded"
    give_tensors(whole, pickle.dumps(Bomb(exploded)))
    assert "not a safetensors file" in evaluate(whole)
    torch.save(Bomb(exploded), whole / "model.pt")
    assert "model.pt: truncated, or not a checkpoint" in evaluate(whole, whole / "model.pt")
    assert not exploded.exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda found: found.pop("meta/layer1.weight"), "lacks meta/layer1.weight"),
        (lambda found: found.update({"meta/\x1b[2J": torch.ones(1)}), r"holds meta/\x1b[2J, which"),
        (
            lambda found: found.update({"meta/layer1.bias": torch.ones(1)}),
            "meta/layer1.bias is (1,) torch.float32, and must be (8,) torch.float32",
        ),
        (
            lambda found: found.update({"meta/layer1.bias": torch.ones(8, dtype=torch.float64)}),
            "meta/layer1.bias is (8,) torch.float64, and must be (8,) torch.float32",
        ),
    ],
)
def test_tensors_that_do_not_fit(
    whole: Path, change: Callable[[dict[str, torch.Tensor]], Any], message: str
) -> None:
    found = tensors(whole)
    change(found)
    give_tensors(whole, safetensors.torch.save(found))
    assert message in evaluate(whole)


def test_numbers_that_are_none_are_told_as_such(whole: Path) -> None:
    found = {name: torch.full_like(value, torch.nan) for name, value in tensors(whole).items()}
    give_tensors(whole, safetensors.torch.save(found))
    done = call("evaluate", str(whole), "--episodes", "3", folder=whole)
    assert done.code == 0, done.output
    assert "query_loss nan" in done.output


@pytest.mark.parametrize(
    ("kind", "message"), [("pipe", "is a pipe, and must"), ("zero", "is a device, and must")]
)
@pytest.mark.parametrize("part", ["description", "tensors"])
def test_what_is_no_file_is_not_waited_for(whole: Path, kind: str, message: str, part: str) -> None:
    names = {"description": "checkpoint.json", "tensors": description(whole)["tensors"]["file"]}
    file = whole / names[part]
    file.unlink()
    if kind == "pipe":
        os.mkfifo(file)
    else:
        file.symlink_to("/dev/zero")
    assert message in evaluate(whole)


def test_a_link_to_a_file_elsewhere_is_held_to_the_same_digest(whole: Path, tmp_path: Path) -> None:
    file = whole / description(whole)["tensors"]["file"]
    elsewhere = tmp_path / "elsewhere"
    file.rename(elsewhere)
    file.symlink_to(elsewhere)
    assert call("evaluate", str(whole), "--episodes", "3", folder=whole).code == 0
    elsewhere.write_text("hidden:x:0")
    said = evaluate(whole)
    assert "truncated or changed, its 10 bytes do not have the SHA-256" in said
    assert "hidden" not in said


@pytest.mark.parametrize(
    ("size", "message"), [(12 << 30, "does not fit into the memory"), (1 << 41, "larger than")]
)
def test_tensors_of_any_size_are_not_read_into_memory(whole: Path, size: int, message: str) -> None:
    file = whole / description(whole)["tensors"]["file"]
    os.truncate(file, size)
    assert message in refused_in_limits("evaluate", str(whole), folder=whole)


def test_a_network_larger_than_memory_is_not_built(whole: Path) -> None:
    content = description(whole)
    content["config"]["settings"] |= {"width": 65536, "depth": 16}
    describe(whole, content)
    said = refused_in_limits("evaluate", str(whole), folder=whole)
    assert "network does not fit into the memory that is left" in said


def test_a_path_that_is_none(tmp_path: Path) -> None:
    assert "no such file" in refused("evaluate", "[/red]", folder=tmp_path)
    assert "[/red]" in refused("evaluate", "[/red]", folder=tmp_path)
    assert "File name too long" in refused("evaluate", "x" * 5000, folder=tmp_path)

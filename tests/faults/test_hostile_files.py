"""Specifications and configurations from anyone: read, or refused in one message."""

from __future__ import annotations

import json
import os
import string
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from search.config import Config
from search.config_file import complete_config
from search.errors import UserError
from search.spec import Spec, parse_spec
from search.spec_source import parse_yaml
from tests.faults.hostile import refused, refused_in_limits
from tests.search.small_runs import small_config
from tests.search.specs import SMALLEST

COMMANDS = (("search", "--dry-run"), ("train",), ("evaluate",))


def sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(1 << 40)


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (os.mkfifo, "is a pipe, and must be a file"),
        (lambda path: path.symlink_to("/dev/zero"), "is a device, and must be a file"),
        (lambda path: path.symlink_to(path), "cannot be read: Too many levels of symbolic links"),
        (sparse, "larger than "),
    ],
)
def test_what_is_no_file_of_ours_is_not_read(
    tmp_path: Path, command: tuple[str, ...], make: Callable[[Path], None], message: str
) -> None:
    file = tmp_path / "mine.yaml"
    make(file)
    assert f"{file}: {message}" in refused(command[0], str(file), *command[1:], folder=tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        "[" * 200_000,
        "a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n",
        "seed: " + "1:" * 100_000 + "1",
        "space: {maml/inner_lr: [" + "1," * 120_000 + "]}",
        "algorithms: [" + ", ".join(f"a{number}" for number in range(25_000)) + "]",
        "? " * 100_000,
        "a: !!python/object/apply:os.system ['touch owned']",
        "a: !!python/name:os.system",
    ],
)
def test_a_small_file_takes_little_time_and_memory(tmp_path: Path, text: str) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(text)
    refused_in_limits("search", str(file), "--dry-run", folder=tmp_path)
    refused("train", str(file), folder=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.yaml"]


@pytest.mark.parametrize("command", COMMANDS[:2])
def test_a_network_larger_than_memory_is_not_built(
    tmp_path: Path, command: tuple[str, ...]
) -> None:
    file = tmp_path / "mine.yaml"
    large = {"width": 65536, "depth": 16}
    config = small_config(settings=large).to_dict()
    space = {f"mlp/{name}": value for name, value in large.items()}
    file.write_text(json.dumps(SMALLEST | {"space": space} if command[0] == "search" else config))
    said = refused_in_limits(command[0], str(file), *command[1:], folder=tmp_path)
    assert "network does not fit into the memory that is left" in said


scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63) + 1, 2**63 - 1),
    st.floats(),
    st.text(max_size=20),
    st.sampled_from(["auto", "1h", "../..", "a:b", "os:path", "maml", "sinusoid", "inf", ""]),
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)


def paths(tree: Any, prefix: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """Return the keys that lead to every value of a tree, its sections included."""
    found = [prefix] if prefix else []
    if isinstance(tree, dict):
        for key, value in tree.items():
            found += paths(value, (*prefix, key))
    return found


def changed(tree: dict[str, Any], path: tuple[str, ...], value: Any) -> dict[str, Any]:
    copy = json.loads(json.dumps(tree))
    node = copy
    for key in path[:-1]:
        node = node[key]
    node[path[-1]] = value
    return copy


FULL = parse_spec(SMALLEST).resolved()
CONFIG = small_config(seeds=2, formulation={"chunk": 4}).to_dict()
FUZZED = settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.filter_too_much]
)


def answer(read: Callable[[], Any]) -> tuple[Any, str]:
    """Return what is read, or else what is told; anything but a UserError fails the test."""
    try:
        return read(), ""
    except UserError as error:
        assert 0 < len(str(error)) < 25_000  # noqa: PT017
        assert "\x1b" not in str(error)  # noqa: PT017
        return None, str(error)


@FUZZED
@given(st.sampled_from(paths(FULL)), values)
def test_any_value_in_a_specification_is_valid_or_told(path: tuple[str, ...], value: Any) -> None:
    found, told = answer(lambda: parse_spec(changed(FULL, path, value)))
    if told:
        assert any(key in told for key in path)
        return
    assert isinstance(found, Spec)
    assert json.loads(json.dumps(found.resolved()))["name"] == found.name
    assert len(found.rungs()) < 50


@FUZZED
@given(st.sampled_from(paths(CONFIG)), values | st.integers(10**18, 10**400))
def test_any_value_in_a_configuration_is_valid_or_told(path: tuple[str, ...], value: Any) -> None:
    found, told = answer(lambda: complete_config(Path("mine.yaml"), changed(CONFIG, path, value)))
    if told:
        assert told.startswith("mine.yaml: ")
        return
    assert isinstance(found, Config)
    assert Config.from_dict(found.to_dict()) == found


@FUZZED
@given(st.text(alphabet=string.printable + "\x00\x1b\u202e\ud800", max_size=200))
def test_any_text_is_plain_yaml_or_told(text: str) -> None:
    found, told = answer(lambda: parse_yaml(text, "mine.yaml"))
    if told:
        assert told.startswith("mine.yaml")
    json.dumps(found)

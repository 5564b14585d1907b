"""docs/spec.md names every key of a specification, and what it shows is one."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import yaml
from pydantic import BaseModel

from episodes.image_folder import split_by_ratio
from search.config_file import read_config
from search.spec import Spec, parse_spec
from tests.search.specs import OMNIGLOT, SMALLEST

TEXT = (Path(__file__).parent.parent / "docs" / "spec.md").read_text()
BLOCKS = re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)


def keys(model: type[BaseModel], before: str = "") -> Iterator[str]:
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from keys(kind, f"{before}{name}.")
        else:
            yield before + name


def test_every_key_is_there_with_its_default() -> None:
    rows = dict(re.findall(r"^\| (`[^|]*`) \| ([^|]*) \|", TEXT, re.MULTILINE))
    named = [key for cell in rows for key in re.findall(r"`([^`]*)`", cell)]
    assert sorted(named) == sorted(keys(Spec))
    spec = parse_spec(SMALLEST)
    for cell, shown in rows.items():
        if re.fullmatch(r"[\d.]+|true|false|auto", shown):
            value: object = spec
            for part in cell.strip("`").split("."):
                value = getattr(value, part)
            assert value == yaml.safe_load(shown), cell


def test_what_is_shown_is_a_space_and_a_configuration(tmp_path: Path) -> None:
    space, configuration = BLOCKS
    shown = yaml.safe_load(space)
    spec = parse_spec(SMALLEST | {"problem": OMNIGLOT, "networks": ["conv4"]} | shown)
    assert spec.space == shown["space"]
    assert not spec.unused()
    file = tmp_path / "mine.yaml"
    file.write_text(configuration)
    assert read_config(file).hyper["meta_batch_size"] == 1


def test_a_folder_takes_as_many_classes_as_the_docs_say() -> None:
    for ways, classes in ((5, 23), (2, 8)):
        for count in (classes - 1, classes):
            names = [str(number) for number in range(count)]
            split = split_by_ratio(names, (0.6, 0.2, 0.2), 0)
            enough = min(len(of) for of in split.values()) >= ways
            assert enough == (count == classes)

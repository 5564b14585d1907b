"""Reading specifications: files, ready-made searches, values set on top."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from search.errors import UserError
from search.spec_source import LARGEST, parse_yaml, read_source, ready_made_names, set_values

KNOWN = (
    "arrays, cifar-fs-5way-1shot, cifar-fs-subset-5way-1shot, cub-5way-1shot, "
    "double-mnist-5way-1shot, fc100-5way-5shot, fc100-subset-5way-1shot, fss-1000-5shot, "
    "harmonic, image-folder, mini-imagenet-5way-1shot, omniglot-20way-1shot, "
    "omniglot-5way-1shot, omniglot-5way-5shot, pascal-5i-1shot, segmentation-camvid, "
    "sinusoid, sinusoid-composed, sinusoid-family, sinusoid-line, tiered-imagenet-5way-1shot, "
    "tiny-imagenet-subset-5way-1shot, translation, translation-lowres, "
    "triple-mnist-5way-1shot"
)

TAG = "x, line 1: not valid YAML: the tag 'tag:yaml.org,2002:"
TOO_DEEP = "not valid YAML: nested too deeply, more than 32 levels"
NO_KEY = "as a key: keys must be text"


def test_a_name_is_a_ready_made_search_whatever_lies_in_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("sinusoid").mkdir()
    assert read_source("sinusoid")["name"] == "sinusoid"
    assert ", ".join(ready_made_names()) == KNOWN


@pytest.mark.parametrize("as_text", [True, False])
def test_a_file_is_read(tmp_path: Path, as_text: bool) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("name: mine\nseed: 3\n")
    assert read_source(str(file) if as_text else file) == {"name": "mine", "seed": 3}


def test_numbers_in_exponents_are_numbers() -> None:
    content = parse_yaml("[1e-3, 1E+2, -2e3, 1.5e-3, 0.1, 1e, e3, 12]", "list")
    assert content == [1e-3, 1e2, -2e3, 1.5e-3, 0.1, "1e", "e3", 12]


def test_what_is_plain_is_read_as_it_is_written() -> None:
    text = 'a: 2001-02-30\nb: {<<: c}\nc: =\'\nd: "x\\ty"\ne: 9223372036854775807\nf: née'
    assert parse_yaml(text, "x") == {
        "a": "2001-02-30",
        "b": {"<<": "c"},
        "c": "='",
        "d": "x\ty",
        "e": 2**63 - 1,
        "f": "née",
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: [a", "x, line 1: not valid YAML: expected ',' or ']', but got '<stream end>'"),
        ("a: 1\nb: 2\na: 3", "x, line 3: not valid YAML: a is given twice"),
        ("a: &anchor [1]\nb: *anchor", "x, line 2: not valid YAML: aliases are not allowed"),
        (
            "a: !!python/object/apply:os.system [echo]",
            "x, line 1: not valid YAML: the tag "
            "'tag:yaml.org,2002:python/object/apply:os.system' is not allowed",
        ),
        ('a: !!binary "aGk="', f"{TAG}binary' is not allowed"),
        ("a: !!set {b, c}", f"{TAG}set' is not allowed"),
        ("a: !mine b", "x, line 1: not valid YAML: the tag '!mine' is not allowed"),
        ("a: " + "x" * LARGEST, "x: larger than 256 KiB"),
        ("[" * 5000, f"x, line 1: {TOO_DEEP}"),
        ("\n".join(" " * depth + "a:" for depth in range(40)), f"x, line 32: {TOO_DEEP}"),
        ("- " * 5000, f"x, line 1: {TOO_DEEP}"),
        ("a: 9223372036854775808", "x, line 1: not valid YAML: a whole number beyond 64 bits"),
        ("a: 1" + ":1" * 90000, "x, line 1: not valid YAML: a number of 180001 characters"),
        ("a: 1" + ":1" * 90000 + ".5", "x, line 1: not valid YAML: a number of 180003 characters"),
        ("a: 0x" + "f" * 9000, "x, line 1: not valid YAML: a number of 9002 characters"),
        ('a: "\\x1b[2J"', "x, line 1: not valid YAML: control character '\\x1b' is not allowed"),
        ('"\\0": 1', "x, line 1: not valid YAML: control character '\\x00' is not allowed"),
        ('a: "\\u202e"', "x, line 1: not valid YAML: control character '\\u202e' is not allowed"),
        ('a: "\\ud800"', "x, line 1: not valid YAML: control character '\\ud800' is not allowed"),
        ("? [a]\n: 1", f"x, line 1: not valid YAML: 'a list or mapping' {NO_KEY}"),
        ("? {a: 1}\n: 1", f"x, line 1: not valid YAML: 'a list or mapping' {NO_KEY}"),
        ("a: {1: 2}", f"x, line 1: not valid YAML: '1' {NO_KEY}"),
        ("~: 2", f"x, line 1: not valid YAML: '~' {NO_KEY}"),
        ("a: 1\n--- 2", "x, line 2: not valid YAML: but found another document"),
    ],
)
def test_what_is_not_plain_yaml_is_refused(text: str, message: str) -> None:
    with pytest.raises(UserError) as error:
        parse_yaml(text, "x")
    assert str(error.value) == message


def test_a_source_that_is_not_there_is_named() -> None:
    with pytest.raises(UserError) as error:
        read_source("./none.yaml")
    assert str(error.value) == f"none.yaml: no such file; ready-made searches: {KNOWN}"
    with pytest.raises(UserError) as error:
        read_source("sinusoids")
    assert str(error.value) == (
        "sinusoids: no ready-made search of that name: did you mean sinusoid?"
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"- a\n- b\n", "holds no mapping of keys to values, such as `name: my-search`"),
        (b"", "holds no mapping of keys to values, such as `name: my-search`"),
        (b"\xff\xfe\x00", "not a text file in UTF-8"),
        (b"a" * (LARGEST + 1), "larger than 256 KiB"),
    ],
)
def test_a_file_that_holds_no_specification_is_refused(
    tmp_path: Path, content: bytes, message: str
) -> None:
    file = tmp_path / "mine.yaml"
    file.write_bytes(content)
    with pytest.raises(UserError) as error:
        read_source(file)
    assert str(error.value) == f"{file}: {message}"


def test_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read: Is a directory"):
        read_source(tmp_path)


def test_values_are_set_at_dotted_keys() -> None:
    content: dict[str, Any] = {"budget": {"trials": 24}, "problem": None}
    values = {
        "budget.trials": "6",
        "problem.evaluation.seed": "3",
        "space.*/inner_lr": "{low: 1e-3, high: 0.1, log: true}",
        "budget.time_limit": "null",
    }
    set_values(content, values)
    assert content == {
        "budget": {"trials": 6, "time_limit": None},
        "problem": {"evaluation": {"seed": 3}},
        "space": {"*/inner_lr": {"low": 0.001, "high": 0.1, "log": True}},
    }


def test_a_value_has_no_keys_below_it() -> None:
    with pytest.raises(UserError) as error:
        set_values({"budget": {"trials": 24}}, {"budget.trials.all": "6"})
    assert str(error.value) == (
        "budget.trials.all: budget.trials is a single value; it has no keys below it"
    )

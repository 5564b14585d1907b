from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from search import export
from search.config import Config, Problem
from search.config_file import read_config
from search.errors import UserError
from search.run_params import from_params, to_params

ENTRY = {
    "rank": 1,
    "metric": "query_loss",
    "validation_mean": 0.1,
    "validation_ci95_low": 0.05,
    "validation_ci95_high": 0.15,
    "test_mean": 0.2,
    "test_ci95_low": float("nan"),
    "test_ci95_high": float("nan"),
    "confirmed": True,
    "failed_seeds": 1,
    "train_seconds": 1.5,
}
PROVENANCE = {"run_id": "abc", "search": "first", "versions": {"torch": "2.11"}}


@pytest.fixture
def full(config: Config) -> Config:
    """A configuration that leaves nothing to defaults."""
    more: dict[str, Any] = {
        "outer_optimizer": "adam",
        "outer_schedule": "cosine",
        "meta_batch_size": 4,
        "weight_decay": 0.01,
    }
    hyper = {**config.hyper, **more, "clip_norm": 0.0, "inner_lr": 1e-05}
    settings = {**config.settings, "normalization": "layer", "residual": True}
    config = replace(config, problem=replace(config.problem, options={"noise": 0.0}))
    return replace(
        config, hyper=hyper, settings=settings, seeds=3, formulation={"chunk": 32}, rungs=(100, 300)
    )


def test_round_trip(tmp_path: Path, full: Config) -> None:
    path = tmp_path / "new folder" / "best.yaml"
    export.write(path, export.document(full, ENTRY, PROVENANCE))
    assert read_config(path) == full
    assert read_config(path).hash == full.hash
    content = yaml.safe_load(path.read_text())
    assert list(content) == ["metasweep", "config", "results", "provenance"]
    assert content["results"]["test"] == {"mean": 0.2, "ci95_low": None, "ci95_high": None}
    assert content["provenance"] == PROVENANCE


def test_the_configuration_itself_with_defaults_left_out(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(
        "problem: {task: sinusoid, kind: regression, shots: 10, query_shots: 10}\n"
        "algorithm: maml\nnetwork: mlp\nepisodes: 500\n"
        "hyper: {inner_lr: 1e-3, outer_lr: 1}\n"
    )
    config = read_config(path)
    assert config.problem == Problem("sinusoid", "regression", 10, 10, options={"noise": 0.0})
    assert config.hyper["inner_lr"] == 0.001
    assert isinstance(config.hyper["outer_lr"], float)
    assert config.hyper["inner_steps_evaluation"] == 5
    assert config.settings == {
        "width": 40,
        "depth": 2,
        "normalization": "none",
        "activation": "relu",
        "residual": False,
    }
    assert config.seeds == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"algorithm": "mamll"}, "algorithm: 'mamll': unknown algorithm: did you mean maml?"),
        (
            {"network": "lstm"},
            "network: 'lstm': unknown network: known: conv4, mlp, resnet12, torchvision, "
            "transformer, unet, vit",
        ),
        ({"episode": 3}, "episode: unknown key: did you mean episodes?"),
        ({"problem.shot": 3}, "problem.shot: unknown key: did you mean shots?"),
        ({"hyper.inner_rate": 3}, "hyper.inner_rate: unknown key: "),
        ({"hyper.inner_lr": "fast"}, "hyper.inner_lr: fast: must be a number from 0 to 100"),
        ({"hyper.inner_steps": 0}, "hyper.inner_steps: 0: must be a whole number from 1 to 1000"),
        ({"settings.width": -1}, "settings.width: -1: must be a whole number from 1"),
        ({"episodes": "many"}, "episodes: 'many': should be a valid integer"),
        ({"episodes": 0}, "episodes: 0: must be at least 1"),
        ({"rungs": [300, 100]}, "rungs: [300, 100]: must ascend, between 0 and 900"),
        ({"rungs": [900]}, "rungs: [900]: must ascend, between 0 and 900"),
        ({"seeds": 0}, "seeds: 0: must be at least 1"),
        ({"seed": -1}, "seed: -1: must be at least 0"),
        ({"device": "gpu"}, "device: 'gpu': must be cpu, cuda, cuda:0, ... or mps"),
        ({"problem.kind": "guessing"}, "problem.kind: 'guessing': should be 'classification', "),
        ({"problem": 3}, "problem: 3: "),
        ({"algorithm": None}, "algorithm: None: should be a valid string"),
    ],
)
def test_errors_name_field_value_and_what_is_right(
    tmp_path: Path, full: Config, change: dict[str, Any], message: str
) -> None:
    content = full.to_dict()
    for key, value in change.items():
        section, _, name = key.rpartition(".")
        (content[section] if section else content)[name] = value
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(content))
    with pytest.raises(UserError) as caught:
        read_config(path)
    assert str(caught.value).startswith(f"{path}: {message}")
    assert len(str(caught.value).splitlines()) <= 3


def test_missing_field(tmp_path: Path, full: Config) -> None:
    content = full.to_dict()
    del content["episodes"], content["problem"]["shots"]
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump({"config": content}))
    with pytest.raises(UserError) as caught:
        read_config(path)
    assert str(caught.value).splitlines() == [
        f"{path}: problem.shots: missing: a configuration must have it",
        f"{path}: episodes: missing: a configuration must have it",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no configuration"),
        ("- 1", "holds no configuration"),
        ("config: 3", "holds no configuration"),
        ("a: [", "not valid YAML"),
        ("config: {}\nresult: 1", "result: unknown key: did you mean results?"),
        ("date: 2020-01-01", "date: unknown key"),
    ],
)
def test_not_a_configuration(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=message):
        read_config(path)


def test_missing_and_binary_files(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none\.yaml: no such file"):
        read_config(tmp_path / "none.yaml")
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="not a text file"):
        read_config(tmp_path / "binary.yaml")


def test_nothing_in_the_file_is_executed(tmp_path: Path) -> None:
    path = tmp_path / "bomb.yaml"
    path.write_text(f"!!python/object/apply:os.mkdir ['{tmp_path / 'made'}']")
    with pytest.raises(UserError, match="not valid YAML"):
        read_config(path)
    assert not (tmp_path / "made").exists()


values = st.one_of(
    st.integers(), st.floats(allow_nan=False), st.text(), st.sampled_from(["1", "null", "true", ""])
)


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(["inner_lr", "inner_steps", "rule"]), values))
def test_run_parameters_hold_a_configuration_exactly(hyper: dict[str, Any]) -> None:
    problem = Problem("omniglot", "classification", 1, 15, ways=5, split="lake", transductive=True)
    settings = {"filters": 64, "pool": True}
    config = Config(problem, "meta-sgd", "conv4", hyper, settings, 100, (10,), device="cuda:0")
    assert from_params(to_params(config)) == config


def test_run_parameters_carry_their_owner(config: Config) -> None:
    params = to_params(config)
    assert params["maml/inner_lr"] == "0.01"
    assert params["mlp/activation"] == "relu"
    assert params["problem/shots"] == "10"
    assert params["problem/ways"] == "null"
    assert params["rungs"] == "[100, 300]"
    assert params["seed"] == "7"

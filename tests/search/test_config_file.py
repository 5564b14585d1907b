"""A configuration written by hand is completed by what matters, and by nothing else."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import yaml

from algorithms.engine import Formulation
from algorithms.recipe import CHOICES, MAML, Recipe
from search import export
from search.config import Config
from search.config_file import read_config
from search.errors import UserError
from search.fitting import check_builds
from search.formulation_checks import FormulationFields
from spaces.algorithms import ALGORITHM_SPACES
from tests.search.small_runs import PAIRS, distribution, small_config
from tests.search.test_export import ENTRY

REGRESSION = {"task": "sinusoid", "kind": "regression", "shots": 5, "query_shots": 5}
IMAGES = {
    "task": "omniglot",
    "kind": "classification",
    "ways": 5,
    "shots": 1,
    "query_shots": 5,
    "split": "vinyals",
}


def read(tmp_path: Path, **content: Any) -> Config:
    path = tmp_path / "mine.yaml"
    defaults = {"algorithm": "composed", "network": "mlp", "episodes": 100, "problem": REGRESSION}
    path.write_text(yaml.safe_dump(defaults | content))
    return read_config(path)


def refused(tmp_path: Path, **content: Any) -> str:
    with pytest.raises(UserError) as caught:
        read(tmp_path, **content)
    return str(caught.value).removeprefix(f"{tmp_path / 'mine.yaml'}: ")


def recipe_of(config: Config) -> Recipe:
    return Recipe(**{name: config.hyper[name] for name in CHOICES})  # type: ignore[arg-type]


@pytest.mark.parametrize(("algorithm", "kind"), PAIRS)
def test_an_empty_section_becomes_the_published_learner(
    tmp_path: Path, algorithm: str, kind: str
) -> None:
    classification = kind == "classification"
    config = read(
        tmp_path,
        algorithm=algorithm,
        network="conv4" if classification else "mlp",
        problem=IMAGES if classification else REGRESSION,
    )
    published = ALGORITHM_SPACES[algorithm].defaults[config.problem.kind]
    assert config.hyper.items() <= published.items()
    if algorithm == "composed":
        assert recipe_of(config) == MAML
        wanted = {*CHOICES, *ALGORITHM_SPACES["maml"].parameters}
        assert config.hyper.keys() == wanted
    else:
        assert config.hyper == published


@pytest.mark.parametrize(("algorithm", "kind"), PAIRS)
def test_every_learner_is_exported_and_read_again(
    tmp_path: Path, algorithm: str, kind: Any
) -> None:
    config = small_config(algorithm, kind, seeds=2)
    path = tmp_path / "best.yaml"
    task = {"task": "omniglot"} if kind == "classification" else {}
    document = export.document(config, ENTRY, {"run_id": "abc"})
    document["config"]["problem"] |= task
    path.write_text(yaml.safe_dump(document))
    found = read_config(path)
    assert found.hyper == config.hyper
    assert found.settings == config.settings
    assert found.seeds == 2


def test_what_a_part_needs_is_filled_in_and_what_it_does_not_is_not(tmp_path: Path) -> None:
    parts = {"meta_gradient": "implicit", "inner_optimizer": "adam"}
    config = read(tmp_path, hyper=parts)
    expected = Recipe(meta_gradient="implicit", inner_optimizer="adam", proximal=False)
    published = ALGORITHM_SPACES["composed"].defaults["regression"]
    needed = {"inner_momentum", "inner_decay", "proximal_strength", "cg_steps"}
    assert recipe_of(config).parts() | {"proximal": False} == expected.parts()
    assert config.hyper["proximal"] is True
    assert {name: config.hyper[name] for name in needed} == {
        name: published[name] for name in needed
    }
    assert not {"context_size", "multi_step_share", "first_order_share"} & config.hyper.keys()


def test_a_formulation_is_checked_in_all_of_its_fields(tmp_path: Path) -> None:
    assert FormulationFields.model_fields.keys() == {field.name for field in fields(Formulation)}
    given = Formulation(8, compiled=True, together=4, memory_mb=100).to_dict()
    assert read(tmp_path, formulation=given).formulation == given
    wrong = given | {"chunk": 0, "compiled": "yes", "memory": 1}
    where = tmp_path / "mine.yaml"
    assert refused(tmp_path, formulation=wrong).splitlines() == [
        "formulation.chunk: 0: must be at least 1",
        f"{where}: formulation.compiled: 'yes': must be true or false",
        f"{where}: formulation.memory: unknown key: did you mean memory_mb?",
    ]


def test_conditions_look_at_the_network_that_is_given(tmp_path: Path) -> None:
    per_step = {"inner_normalization": "per_step"}
    images = {"network": "conv4", "problem": IMAGES}
    config = read(tmp_path, hyper=per_step, **images)
    assert config.hyper["inner_normalization"] == "per_step"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            {"hyper": {"context_size": 5}},
            "hyper.context_size: has no effect beside the rest; remove it",
        ),
        (
            {"hyper": {"inner_decay": 0.9, "inner_optimizer": "momentum"}},
            "hyper.inner_decay: has no effect beside the rest; remove it",
        ),
        (
            {"hyper": {"proximal_strength": 1.0}},
            "hyper.proximal_strength: has no effect beside the rest; remove it",
        ),
        ({"algorithm": "maml", "hyper": {"cg_steps": 5}}, "hyper.cg_steps: unknown key: "),
        ({"hyper": {"head@still": "learned"}}, "hyper.head@still: unknown key: "),
        ({"hyper": {"rate": "two"}}, "hyper.rate: two: must be one of one, layer, parameter,"),
        ({"hyper": {"adapts": " "}}, "hyper.adapts:  : must be text that is not empty"),
        (
            {"hyper": {"weight_decay": -1}},
            "hyper.weight_decay: -1: must be a number from 0 to 1",
        ),
        ({"algorithm": "proto-maml"}, "algorithm: is not for regression problems"),
        ({"algorithm": "matching"}, "algorithm: is not for regression problems"),
        ({"seeds": 0}, "seeds: 0: must be at least 1"),
        ({"seeds": -2}, "seeds: -2: must be at least 1"),
        ({"seeds": 1.5}, "seeds: 1.5: should be a valid integer"),
        ({"seeds": 1001}, "seeds: 1001: must be at most 1000"),
        ({"threads": 1025}, "threads: 1025: must be at most 1024"),
        ({"problem": REGRESSION | {"shots": 10001}}, "problem.shots: 10001: must be at most 10000"),
        (
            {"problem": REGRESSION | {"kind": "classification"}},
            "problem.kind: 'classification': sinusoid is regression",
        ),
    ],
)
def test_what_is_wrong_or_without_effect_is_named(
    tmp_path: Path, content: dict[str, Any], message: str
) -> None:
    assert refused(tmp_path, **content).startswith(message)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (
            "vit_b_16",
            "vit_b_16: its layer encoder.layers.encoder_layer_0.self_attention "
            "(MultiheadAttention) has no version with an episode axis; choose another model",
        ),
        ("resnet19", "resnet19: must be one of resnet18, "),
    ],
)
def test_a_model_of_torchvision_that_cannot_be_used_is_told_by_its_layer(
    tmp_path: Path, model: str, message: str
) -> None:
    found = refused(
        tmp_path,
        algorithm="maml",
        network="torchvision",
        problem=IMAGES,
        settings={"model": model},
    )
    assert found.startswith(f"settings.model: {message}")


@pytest.mark.parametrize(
    ("hyper", "message"),
    [
        ({"meta_gradient": "difference", "adapts": "head"}, "adapts: 'head': is not learned by"),
        ({"meta_gradient": "implicit", "proximal": False}, "proximal: False: "),
        ({"rate": "layer", "rate_learned": False}, "rate: 'layer': "),
        ({"adapts": "body", "head": "zeroed"}, "head: 'zeroed': would stay at zero"),
        ({"head": "prototypes"}, "head: 'prototypes': needs classes"),
    ],
)
def test_a_part_that_the_rest_rules_out_is_kept_and_refused_by_name(
    tmp_path: Path, hyper: dict[str, Any], message: str
) -> None:
    config = read(tmp_path, hyper=hyper)
    assert config.hyper.items() >= hyper.items()
    with pytest.raises(UserError) as caught:
        check_builds(config, distribution("regression"))
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    "hyper",
    [
        {"meta_gradient": "difference"},
        {"meta_gradient": "implicit"},
        {"rate": "parameter"},
        {"adapts": "context"},
        {"adapts": "layer2, head"},
        {"meta_gradient": "annealed", "query_loss": "multi_step", "inner_steps": 3},
    ],
)
def test_one_part_is_enough_for_a_recipe_that_builds(tmp_path: Path, hyper: dict[str, Any]) -> None:
    config = read(tmp_path, hyper=hyper)
    check_builds(config, distribution("regression"))
    if hyper.get("meta_gradient") == "difference":
        assert config.hyper["outer_optimizer"] == "sgd"
        assert config.hyper["outer_lr"] >= 0.05

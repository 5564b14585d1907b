"""What cannot be built is found before anything is run."""

from __future__ import annotations

import io
import os
from dataclasses import replace
from typing import Any

import pytest
from rich.console import Console

from search import dry_run, fitting
from search.errors import UserError
from search.fitting import check_builds, check_fits
from search.sampling import memory_of_a_trial
from search.spec import Spec, parse_spec
from search.spec_sections import ResourcesSpec
from tests.search.small_runs import PAIRS, distribution, small_config

SINUSOID = {"task": "sinusoid", "shots": 5, "query_shots": 5}
OMNIGLOT = {"task": "omniglot", "ways": 3, "shots": 2, "query_shots": 2}


def spec(**changes: Any) -> Spec:
    smallest = {
        "name": "mine",
        "problem": SINUSOID,
        "algorithms": ["maml", "composed"],
        "networks": ["mlp"],
        "budget": {"trials": 2, "episodes": 100},
    }
    return parse_spec(smallest | changes)


def checked(wanted: Spec, kind: Any) -> None:
    check_fits(wanted, small_config(kind=kind).problem, distribution(kind))


@pytest.mark.parametrize(("algorithm", "kind"), PAIRS)
def test_every_algorithm_fits_the_networks_of_its_kind(algorithm: str, kind: Any) -> None:
    if kind == "regression":
        checked(spec(algorithms=[algorithm]), kind)
    else:
        networks = ["mlp", "conv4", "resnet12", "vit"]
        checked(spec(algorithms=[algorithm], networks=networks, problem=OMNIGLOT), kind)


@pytest.mark.parametrize(
    ("space", "lines"),
    [
        (
            {"composed/adapts": "nope"},
            [("composed on mlp: adapts: 'nope': mlp has no such layer; its layers: ", "head")],
        ),
        (
            {"mlp/normalization": "batch"},
            [
                ("maml on mlp: normalization: 'batch'", "none"),
                ("composed on mlp: normalization: 'batch'", "none"),
            ],
        ),
    ],
)
def test_a_search_that_cannot_be_built_is_refused_before_it_runs(
    space: dict[str, Any], lines: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*arguments: object) -> None:
        raise AssertionError("a configuration was drawn")

    monkeypatch.setattr(dry_run, "sampler_of", never)
    with pytest.raises(UserError) as caught:
        dry_run.show(spec(space=space), None, Console(file=io.StringIO()))
    found = str(caught.value).splitlines()
    assert len(found) == len(lines)
    for line, (start, right) in zip(found, lines, strict=True):
        assert line.startswith(start)
        assert right in line.removeprefix(start)


def test_settings_that_do_not_fit_each_other_are_named() -> None:
    wanted = spec(
        algorithms=["maml", "matching"],
        networks=["conv4", "vit"],
        problem=OMNIGLOT,
        space={"vit/heads": 5, "vit/patch": 4},
    )
    with pytest.raises(UserError) as caught:
        checked(wanted, "classification")
    assert str(caught.value).splitlines() == [
        "maml on vit: heads: 5: must divide width, 192",
        "matching on vit: heads: 5: must divide width, 192",
    ]


def test_every_word_that_a_user_lists_is_tried() -> None:
    wanted = spec(
        networks=["mlp", "torchvision"],
        problem=OMNIGLOT,
        space={
            "*/normalization": ["none", "layer", "batch"],
            "torchvision/model": ["resnet18", "alexnet", "shufflenet_v2_x0_5"],
            "*/model": ["vgg11"],  # The full name wins.
        },
    )
    with pytest.raises(UserError) as caught:
        checked(wanted, "classification")
    layers, model = str(caught.value).splitlines()
    assert layers == "mlp: normalization: 'batch': must be one of none, layer"
    assert model.startswith("torchvision: model: alexnet: does not fit images of 8 x 8 pixels: ")
    checked(spec(networks=["mlp", "torchvision"], problem=OMNIGLOT), "classification")


def test_words_of_a_network_that_fits_no_algorithm_are_not_told_again() -> None:
    wanted = spec(algorithms=["maml"], space={"mlp/normalization": ["batch"]})
    with pytest.raises(UserError) as caught:
        checked(wanted, "regression")
    assert str(caught.value).splitlines() == [
        "maml on mlp: normalization: 'batch': must be one of none, layer"
    ]


def test_a_single_configuration_is_checked_likewise() -> None:
    fine = small_config("composed", adapts="layer1")
    check_builds(fine, distribution("regression"))
    wrong = replace(fine, hyper={**fine.hyper, "adapts": "layer7"})
    with pytest.raises(UserError, match=r"adapts: 'layer7': mlp has no such layer"):
        check_builds(wrong, distribution("regression"))


def test_a_mistake_of_ours_is_not_called_the_users(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*arguments: object) -> None:
        raise ValueError("a defect")

    monkeypatch.setattr(fitting.algorithms, "make", broken)
    with pytest.raises(ValueError, match="a defect"):
        check_builds(small_config(), distribution("regression"))


@pytest.mark.parametrize(
    ("resources", "memory"),
    [
        ({"memory_gb": 4, "gpu": 1}, (2000, None)),
        ({"gpu": 0.5}, (None, 0.25)),
        ({"gpu": 2}, (None, 0.5)),
        ({"gpu": "auto"}, (None, 0.25)),
    ],
)
def test_a_trial_on_a_gpu_gets_its_share_of_the_memory(
    resources: dict[str, Any], memory: tuple[int | None, float | None]
) -> None:
    assert memory_of_a_trial(ResourcesSpec(**resources)) == memory


def test_a_trial_on_a_cpu_gets_memory_by_its_share_of_the_processors() -> None:
    whole, share = memory_of_a_trial(ResourcesSpec(cpu=os.cpu_count()))
    assert share is None
    assert whole is not None
    assert memory_of_a_trial(ResourcesSpec(cpu=10_000))[0] == whole

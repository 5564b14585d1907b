"""Models of torchvision by name: their parameters, and what is refused."""

from __future__ import annotations

import pytest
import torch
from torchvision import models

from networks import Network, NetworkError, build
from networks.torchvision_model import why_not
from spaces.networks import NETWORK_SPACES
from spaces.parameter import values_of
from spaces.space import LEGAL

SPACE = NETWORK_SPACES["torchvision"].parameters["model"]
MODEL = "shufflenet_v2_x0_5"
OUTPUTS = 5


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def network(model: str = MODEL, channels: int = 3, side: int = 32) -> Network:
    return build("torchvision", (channels, side, side), OUTPUTS, {"model": model})


def test_initial_weights_depend_on_the_generator_alone_and_leave_the_global_one() -> None:
    made = network()
    torch.manual_seed(1)
    first = made.init(generator(7))
    torch.manual_seed(2)
    before = torch.get_rng_state()
    again = network().init(generator(7))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(first[name], again[name]) for name in first)
    one = generator(7)
    made.init(one)
    assert not torch.equal(made.init(one)["conv1.0.weight"], first["conv1.0.weight"])


def test_parameters_are_those_of_the_model_under_the_names_of_their_layers() -> None:
    params = network("resnet18").init(generator())
    original = dict(models.resnet18(num_classes=OUTPUTS).named_parameters())
    assert len(params) == len(original)
    assert params["layer2.0.downsample.0.weight"].shape == (128, 64, 1, 1)
    assert params["layer2.0.downsample.1.scale"].shape == (128,)
    assert params["bn1.shift"].shape == (64,)
    assert next(iter(params)) == "conv1.weight"
    assert network("resnet18").head_names == ("fc.weight", "fc.bias")
    assert params["fc.weight"].shape == (OUTPUTS, 512)


def test_weights_are_drawn_as_the_model_draws_its_own() -> None:
    params = network("resnet18").init(generator())
    deviation = (2 / (9 * 512)) ** 0.5  # He et al. 2015, over the outputs
    assert params["layer4.1.conv2.weight"].std().item() == pytest.approx(deviation, rel=0.01)


@pytest.mark.parametrize("channels", [1, 6])
def test_the_first_convolution_fits_the_images(channels: int) -> None:
    made = network("resnet18", channels)
    params = made.init(generator())
    usual = network("resnet18").init(generator())
    assert params["conv1.weight"].shape == (64, channels, 7, 7)
    ratio = params["conv1.weight"].std() / usual["conv1.weight"].std()
    assert ratio.item() == pytest.approx(1, rel=0.05)
    assert torch.equal(params["fc.weight"], usual["fc.weight"])
    assert made(params, torch.zeros(1, 2, channels, 32, 32)).shape == (1, 2, OUTPUTS)


def test_models_with_and_without_batch_normalization_are_told_apart() -> None:
    assert network("vgg11_bn").batch_normalized
    assert not network("vgg11").batch_normalized
    assert not network("convnext_tiny").batch_normalized


@pytest.mark.parametrize("side", [28, 32, 64, 84])
def test_every_model_of_the_space_fits_the_images_of_the_tasks(side: int) -> None:
    for model in values_of(SPACE):
        assert network(str(model), 1 if side == 28 else 3, side).name == "torchvision"


def test_legal_models_are_those_of_torchvision_that_can_be_used() -> None:
    known = set(models.list_models(module=models))
    legal = set(values_of(LEGAL["model"]))
    assert legal <= known
    assert known - legal == {model for model in known - legal if why_not(model) is not None}
    assert why_not(MODEL) is None
    assert why_not("resnet19") is None


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("resnet19", "model: 'resnet19': torchvision has no such classification model: did you"),
        (
            "vit_b_16",
            "model: vit_b_16: its layer encoder.layers.encoder_layer_0.self_attention "
            "(MultiheadAttention) has no version with an episode axis; choose another model",
        ),
        (
            "squeezenet1_1",
            "model: squeezenet1_1: its last layer (classifier.3) is not linear, so that it has no "
            "head; choose another model",
        ),
        ("swin_t", "model: swin_t: its layer features."),
        ("alexnet", "model: alexnet: does not fit images of 32 x 32 pixels: "),
    ],
)
def test_a_model_that_does_not_fit_is_named(model: str, message: str) -> None:
    with pytest.raises(NetworkError) as error:
        network(model)
    assert str(error.value).startswith(message)

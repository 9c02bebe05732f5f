"""Channels of zeros beside the grey values: the network says the same, or stays as it was."""

from pathlib import Path

import pytest
import torch
from torch.nn import functional

from particleseg_app.errors import Cancelled
from particleseg_app.models import Predictor, choose_device
from particleseg_app.models import padded_input as padding
from particleseg_app.models.joined_activation import JoinedActivation
from particleseg_app.models.model_folder import load_network
from particleseg_app.models.quickening import quicken
from particleseg_app.progress import CancelToken

from .tiny_model import write_tiny_model

TILE = torch.randn((1, 1, 32, 32, 32), generator=torch.Generator().manual_seed(1))
PRECISION = torch.bfloat16


def network_of(folder: Path) -> torch.nn.Module:
    (network,) = load_network(write_tiny_model(folder))
    return network


def says(network: torch.nn.Module, tile: torch.Tensor = TILE) -> torch.Tensor:
    with torch.inference_mode(), torch.autocast("cpu", dtype=PRECISION):
        return network(tile)


def pad(network: torch.nn.Module) -> bool:
    return quicken(padding.PaddedInput(network, PRECISION), lambda: says(network))


def first_convolution(network: torch.nn.Module) -> torch.nn.Conv3d:
    return next(one for one in network.modules() if isinstance(one, torch.nn.Conv3d))


def assert_untouched(network: torch.nn.Module, before: torch.Tensor, weights: dict) -> None:
    assert torch.equal(says(network), before)
    after = network.state_dict()
    assert list(after) == list(weights)
    assert all(torch.equal(after[key], weights[key]) for key in weights)
    assert first_convolution(network).in_channels == 1


@pytest.mark.parametrize("precision", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("stride", [1, 2])
def test_zeros_change_no_sum(precision, stride):
    random = torch.Generator().manual_seed(2)
    values = torch.randn((2, 1, 7, 8, 9), generator=random).to(precision)
    weight = torch.randn((5, 1, 3, 3, 3), generator=random).to(precision)
    bias = torch.randn(5, generator=random).to(precision)
    plain = functional.conv3d(values, weight, bias, stride=stride, padding=1)
    padded = functional.conv3d(
        padding.padded_values(values, precision),
        padding._padded_weight(weight),
        bias,
        stride=stride,
        padding=1,
    )
    # Of 27 products, which a processor adds up in whatever order suits it.
    rounding = 27 * torch.finfo(precision).eps
    torch.testing.assert_close(padded, plain, atol=rounding, rtol=rounding)


def test_the_zeros_lie_beside_the_values():
    values = torch.randn((2, 1, 3, 4, 5))
    padded = padding.padded_values(values, PRECISION)
    assert padded.shape == (2, 8, 3, 4, 5) and padded.dtype == PRECISION
    assert padded.is_contiguous(memory_format=torch.channels_last_3d)
    assert torch.equal(padded[:, :1], values.to(PRECISION))
    assert not padded[:, 1:].any()


def test_a_padded_network_says_the_same(tmp_path):
    network = network_of(tmp_path / "m")
    other = torch.randn((3, 1, 32, 48, 32), generator=torch.Generator().manual_seed(3))
    before = [says(network, tile) for tile in (TILE, other)]
    assert pad(network)
    layer = first_convolution(network)
    assert layer.in_channels == 8 and layer.weight.shape[1] == 8
    assert not layer.weight[:, 1:].any()
    for tile, expected in zip((TILE, other), before, strict=True):
        size = 8 * torch.finfo(PRECISION).eps
        torch.testing.assert_close(
            says(network, tile).float(), expected.float(), atol=size, rtol=size
        )


def test_bias_and_activation_can_be_joined_after_it(tmp_path):
    from .test_joined_activation import model_without_normalisation, right

    (network,) = load_network(model_without_normalisation(tmp_path / "m"))
    before = says(network)
    assert pad(network)
    assert quicken(JoinedActivation(network, PRECISION, right), lambda: says(network))
    size = 8 * torch.finfo(PRECISION).eps
    torch.testing.assert_close(says(network).float(), before.float(), atol=size, rtol=size)


def other_weight(weight: torch.Tensor) -> torch.Tensor:
    return padded_weight(weight).flip(-1)


def zeros_that_are_none(weight: torch.Tensor) -> torch.Tensor:
    return padded_weight(weight) * torch.nan


def too_much_memory(weight: torch.Tensor) -> torch.Tensor:
    raise torch.OutOfMemoryError("CUDA out of memory")


padded_weight = padding._padded_weight


@pytest.mark.parametrize("wrong", [other_weight, zeros_that_are_none, too_much_memory])
def test_what_is_wrong_or_fails_leaves_the_network_as_it_was(tmp_path, monkeypatch, wrong):
    network = network_of(tmp_path / "m")
    before, weights = says(network), network.state_dict()
    monkeypatch.setattr(padding, "_padded_weight", wrong)
    assert not pad(network)
    assert_untouched(network, before, weights)


@pytest.mark.parametrize("precision", [torch.float32, torch.float16])
def test_a_network_in_another_precision_is_not_touched(tmp_path, precision):
    def answer() -> torch.Tensor:
        raise AssertionError("there is nothing to compare")

    network = network_of(tmp_path / "m")
    assert not quicken(padding.PaddedInput(network, precision), answer)


def test_cancelling_is_not_taken_for_a_failure(tmp_path):
    def answer() -> torch.Tensor:
        raise Cancelled

    network = network_of(tmp_path / "m")
    with pytest.raises(Cancelled):
        quicken(padding.PaddedInput(network, PRECISION), answer)


def test_on_a_processor_nothing_is_padded(tmp_path):
    entry = write_tiny_model(tmp_path / "m")
    assert not Predictor(entry, "cpu", False, CancelToken()).padded


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_card_says_with_zeros_what_it_says_without(tmp_path, monkeypatch):
    entry, device = write_tiny_model(tmp_path / "m"), choose_device("cuda").id
    tiles = torch.randn((3, 1, 32, 32, 32), device=device)
    padded = Predictor(entry, device, True, CancelToken())
    monkeypatch.setattr(padding, "_can_pad", lambda layer: False)
    plain = Predictor(entry, device, True, CancelToken())
    assert not plain.padded
    assert padded.padded == torch.cuda.is_bf16_supported(including_emulation=False)
    torch.testing.assert_close(padded.predict(tiles), plain.predict(tiles), atol=0.03, rtol=0)

"""Bias and activation in one kernel: the network says the same, or stays as it was.

Kernels are stood in for on the processor; the real one is tried where there is a graphics card.
"""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch.nn import functional

from particleseg_app.errors import Cancelled
from particleseg_app.models import ModelEntry, Predictor, choose_device
from particleseg_app.models import joined_activation as joining
from particleseg_app.models.model_folder import load_network
from particleseg_app.models.quickening import quicken
from particleseg_app.progress import CancelToken

from .tiny_model import plans, write_tiny_model

TILE = torch.randn((1, 1, 32, 32, 32), generator=torch.Generator().manual_seed(1))
PRECISIONS = [torch.float32, torch.bfloat16]


def model_without_normalisation(folder: Path) -> ModelEntry:
    """The tiny model without normalisation, so that biases matter, which are random."""
    entry = write_tiny_model(folder)
    content = plans()
    content["configurations"]["3d_fullres"]["architecture"]["arch_kwargs"] |= {
        "norm_op": None,
        "norm_op_kwargs": None,
    }
    (folder / "plans.json").write_text(json.dumps(content))
    path = entry.checkpoints()[0]
    stored = torch.load(path, weights_only=True)
    weights = {
        key: torch.randn_like(value) if key.endswith(".bias") else value
        for key, value in stored["network_weights"].items()
        if ".norm." not in key and ".all_modules.1." not in key
    }
    torch.save({"network_weights": weights}, path)
    return entry


def network_of(folder: Path) -> torch.nn.Module:
    (network,) = load_network(model_without_normalisation(folder))
    return network


def says(network: torch.nn.Module, precision: torch.dtype) -> torch.Tensor:
    reduced = precision is not torch.float32
    with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16, enabled=reduced):
        return network(TILE)


def right(slope: float) -> joining.Kernel:
    """Rounds once, as the kernel of a card may."""

    def kernel(values: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        return functional.leaky_relu(values.double() + bias.double(), slope).to(values.dtype)

    return kernel


def join(
    network: torch.nn.Module, precision: torch.dtype, make_kernel: Callable[[float], joining.Kernel]
) -> bool:
    change = joining.JoinedActivation(network, precision, make_kernel)
    return quicken(change, lambda: says(network, precision))


def without_bias(slope: float) -> joining.Kernel:
    return lambda values, bias: functional.leaky_relu(values, slope)


def other_slope(slope: float) -> joining.Kernel:
    return right(slope * 20)


def not_a_number(slope: float) -> joining.Kernel:
    return lambda values, bias: values * torch.nan


def cannot_be_made(slope: object) -> joining.Kernel:
    raise OSError("libnvrtc.so: cannot open shared object file")


def cannot_be_called(slope: float) -> joining.Kernel:
    def kernel(values: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory")

    return kernel


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_joined_network_says_the_same(tmp_path, precision):
    network = network_of(tmp_path / "m")
    before = says(network, precision)
    assert join(network, precision, right)
    joined = [one for one in network.modules() if isinstance(one, joining.BiasAndActivation)]
    # Two stages down, one up; the head has no activation.
    assert len(joined) == 3
    assert {one.slope for one in joined} == {0.01}
    after = says(network, precision)
    size = 8 * torch.finfo(precision).eps
    torch.testing.assert_close(after.float(), before.float(), atol=size, rtol=size)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize(
    "kernel", [without_bias, other_slope, not_a_number, cannot_be_made, cannot_be_called]
)
def test_a_kernel_that_is_wrong_or_fails_leaves_the_network_as_it_was(tmp_path, kernel, precision):
    network = network_of(tmp_path / "m")
    before, weights = says(network, precision), network.state_dict()
    assert not join(network, precision, kernel)
    assert torch.equal(says(network, precision), before)
    after = network.state_dict()
    assert list(after) == list(weights)
    assert all(torch.equal(after[key], weights[key]) for key in weights)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_card_the_real_kernel_fails_and_the_network_stays(tmp_path):
    network = network_of(tmp_path / "m")
    before = says(network, torch.float32)
    assert not join(network, torch.float32, joining.card_kernel)
    assert torch.equal(says(network, torch.float32), before)


def test_a_network_with_normalisation_is_not_touched(tmp_path):
    (network,) = load_network(write_tiny_model(tmp_path / "m"))

    def answer() -> torch.Tensor:
        raise AssertionError("there is nothing to compare")

    assert not quicken(joining.JoinedActivation(network, torch.float32, right), answer)


def test_cancelling_is_not_taken_for_a_failure(tmp_path):
    network = network_of(tmp_path / "m")

    def answer() -> torch.Tensor:
        raise Cancelled

    with pytest.raises(Cancelled):
        quicken(joining.JoinedActivation(network, torch.float32, right), answer)


def test_what_is_too_large_for_the_kernel_is_done_by_torch(monkeypatch):
    layer = joining.BiasAndActivation(torch.tensor([-1.0, 0.5]), 0.1, cannot_be_called(0.1))
    monkeypatch.setattr(joining, "MOST_BYTES", 100)
    values = torch.linspace(-1, 1, 54).reshape(1, 2, 3, 3, 3)
    expected = functional.leaky_relu(
        values + torch.tensor([-1.0, 0.5])[None, :, None, None, None], 0.1
    )
    torch.testing.assert_close(layer(values.clone()), expected)


def test_on_a_processor_nothing_is_joined(tmp_path):
    entry = model_without_normalisation(tmp_path / "m")
    assert not Predictor(entry, "cpu", False, CancelToken()).joined


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_card_joins_and_says_what_the_plain_network_says(tmp_path, monkeypatch):
    entry = model_without_normalisation(tmp_path / "m")
    device = choose_device("cuda").id
    tiles = torch.randn((3, 1, 32, 32, 32), device=device)
    joined = Predictor(entry, device, True, CancelToken())
    assert joined.joined
    with monkeypatch.context() as patched:
        patched.setattr(torch.cuda.jiterator, "_create_jit_fn", cannot_be_made)
        plain = Predictor(entry, device, True, CancelToken())
    assert not plain.joined
    torch.testing.assert_close(joined.predict(tiles), plain.predict(tiles), atol=0.03, rtol=0)

"""The network on a graphics card, where there is one."""

from types import SimpleNamespace

import pytest
import torch

from particleseg_app.models import Predictor, available_devices, choose_device
from particleseg_app.models.devices import CardMemory
from particleseg_app.progress import CancelToken

from .tiny_model import write_tiny_model

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


@pytest.mark.gpu
@needs_gpu
def test_graphics_card_and_processor_predict_the_same(tmp_path):
    entry = write_tiny_model(tmp_path / "m")
    tiles = torch.randn(2, 1, 32, 32, 32)
    on_card = Predictor(entry, choose_device("cuda").id, False, CancelToken()).predict(tiles)
    on_processor = Predictor(entry, "cpu", False, CancelToken()).predict(tiles)
    torch.testing.assert_close(on_card.cpu(), on_processor, atol=0.03, rtol=0)


@pytest.mark.gpu
@needs_gpu
def test_a_card_measures_its_memory_and_fits_tiles_into_it(tmp_path):
    device = torch.device(choose_device("cuda").id)
    predictor = Predictor(write_tiny_model(tmp_path / "m"), str(device), False, CancelToken())
    tile = torch.randn((1, 1, 32, 32, 32), device=device)
    memory = CardMemory(device)
    peaks = [
        memory.peak_of(lambda n=n: predictor.predict(tile.expand(n, -1, -1, -1, -1)))
        for n in (1, 4)
    ]
    assert 0 < peaks[0] < peaks[1] < memory.free()


def test_the_memory_of_a_card_is_what_is_free_and_what_torch_holds_unused(monkeypatch):
    """Simulated: 10 free of 16, torch holds 3 and uses 1, then 6 at its peak."""
    card = SimpleNamespace(used=1, peak=0)

    def reset(device):
        card.peak = card.used

    def work():
        card.peak = 6

    for name, answer in {
        "mem_get_info": lambda device: (10, 16),
        "memory_reserved": lambda device: 3,
        "memory_allocated": lambda device: card.used,
        "max_memory_allocated": lambda device: card.peak,
        "reset_peak_memory_stats": reset,
        "synchronize": lambda device: None,
    }.items():
        monkeypatch.setattr(torch.cuda, name, answer)
    memory = CardMemory(torch.device("cuda:0"))
    assert memory.free() == 12
    assert memory.peak_of(work) == 5


@pytest.mark.gpu
@needs_gpu
def test_graphics_cards_come_first():
    assert available_devices()[0].id.startswith("cuda")
    assert choose_device("auto").id.startswith("cuda")


def test_the_processor_is_always_there():
    assert available_devices()[-1].id == "cpu"
    assert choose_device("cpu").memory_bytes > 0

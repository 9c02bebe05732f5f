"""The network on a graphics card, where there is one."""

import pytest
import torch

from particleseg_app.models import Predictor, available_devices, choose_device
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
def test_graphics_cards_come_first():
    assert available_devices()[0].id.startswith("cuda")
    assert choose_device("auto").id.startswith("cuda")


def test_the_processor_is_always_there():
    assert available_devices()[-1].id == "cpu"
    assert choose_device("cpu").memory_bytes > 0

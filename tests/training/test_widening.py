"""A wider network begins as the trained one it comes from."""

from __future__ import annotations

import pytest
import torch

from particleseg_app.training.network import architecture, network_of
from particleseg_app.training.widening import widened


@pytest.mark.parametrize("features", [(8, 16, 24), (6, 13, 20), (4, 6, 8)])
def test_a_wider_network_computes_the_same(features: tuple[int, int, int]) -> None:
    torch.manual_seed(1)
    narrow = architecture((4, 6, 8), normalised=False)
    network = network_of(narrow)
    image = torch.randn(1, 1, 16, 16, 16)
    wider, weights = widened(narrow, network.state_dict(), features, difference=0.0)
    assert wider["arch_kwargs"]["features_per_stage"] == list(features)
    grown = network_of(wider)
    grown.load_state_dict(weights)
    with torch.no_grad():
        torch.testing.assert_close(grown(image), network(image), rtol=1e-4, atol=1e-5)


def test_copies_of_a_channel_differ() -> None:
    narrow = architecture((4, 6, 8), normalised=False)
    _, weights = widened(narrow, network_of(narrow).state_dict(), (8, 12, 16))
    first = weights["encoder.stages.0.0.convs.0.conv.weight"]
    assert not torch.equal(first[:4], first[4:])
    shared = weights["decoder.encoder.stages.0.0.convs.0.conv.weight"]
    assert shared.data_ptr() == first.data_ptr()

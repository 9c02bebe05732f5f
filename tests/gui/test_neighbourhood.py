"""The piece of a scan that a case is shown in."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from particleseg_app.gui.review.neighbourhood import Neighbourhood
from particleseg_app.units import Box


@pytest.mark.parametrize("seed", range(6))
def test_particles_beside_others_are_found_over_faces_edges_and_corners(seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels = (rng.integers(0, 40, (9, 11, 10)) * (rng.random((9, 11, 10)) < 0.2)).astype(np.uint32)
    shown = Neighbourhood(Box.whole(labels.shape), labels, labels)
    own = [1, 2, 3]
    near = ndimage.binary_dilation(np.isin(labels, own), np.ones((3, 3, 3)))
    assert shown.touching(own) == set(labels[near].tolist()) - {0, *own}
    assert shown.touching([99]) == set()

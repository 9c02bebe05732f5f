"""Where the particle table says that particles lie."""

from __future__ import annotations

import numpy as np
import pytest

from particleseg_app.particles.places import Place, boxes_of, place_of
from particleseg_app.units import Box
from tests.particles.particle_bodies import measure

LABELS = np.zeros((9, 12, 20), np.uint32)
LABELS[2:5, 3:4, 10:17] = 4
LABELS[6:8, 9:11, 0:2] = 9


def test_boxes_hold_the_voxels_of_each_particle() -> None:
    table = measure(LABELS)
    assert boxes_of(table) == {4: Box((2, 3, 10), (5, 4, 17)), 9: Box((6, 9, 0), (8, 11, 2))}
    assert boxes_of(table[table["label"] == 7]) == {}


@pytest.mark.parametrize("voxel_size", [1.0, 2.5])
def test_a_particle_lies_at_its_centre_and_is_as_large_as_its_box(voxel_size: float) -> None:
    table = measure(LABELS, voxel_size_um=voxel_size)
    found = place_of(table, 4, voxel_size)
    assert found is not None
    assert found.centre == pytest.approx((3, 3, 13))
    assert found.size == 7
    assert place_of(table, 9, voxel_size) == Place(pytest.approx((6.5, 9.5, 0.5)), 2)
    assert place_of(table, 5, voxel_size) is None

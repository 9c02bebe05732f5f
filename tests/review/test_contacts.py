"""Contacts of a label volume, block by block."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from particleseg_app.errors import Cancelled
from particleseg_app.progress import CancelToken, Progress
from particleseg_app.review.contacts import find_contacts


class InMemory:
    def __init__(self, values):
        self.values = values
        self.shape = values.shape

    def read(self, box):
        return self.values[box.slices].copy()


def found(labels, block_shape):
    contacts = find_contacts(InMemory(labels), Progress(), CancelToken(), block_shape)
    return {
        tuple(pair): (int(faces), tuple(box))
        for pair, faces, box in zip(
            contacts.pairs.tolist(), contacts.faces, contacts.boxes.tolist(), strict=True
        )
    }


def plainly(labels):
    """Faces between labels, counted voxel by voxel."""
    faces = {}
    for index in np.ndindex(labels.shape):
        for axis in range(3):
            other = tuple(n + (a == axis) for a, n in enumerate(index))
            if other[axis] < labels.shape[axis]:
                pair = tuple(sorted((int(labels[index]), int(labels[other]))))
                if pair[0] > 0 and pair[0] != pair[1]:
                    faces[pair] = faces.get(pair, 0) + 1
    return faces


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**31), st.tuples(*[st.integers(1, 6)] * 3))
def test_faces_are_counted_the_same_for_any_block_size(seed, block_shape):
    random = np.random.default_rng(seed)
    labels = random.integers(0, 4, (5, 6, 4)).astype(np.uint32) * np.uint32(1_000_000_007)
    contacts = found(labels, block_shape)
    assert {pair: faces for pair, (faces, _) in contacts.items()} == plainly(labels)
    assert contacts == found(labels, (64, 64, 64))


def test_the_box_of_a_contact_holds_the_voxels_on_both_sides():
    labels = np.zeros((8, 8, 8), np.uint32)
    labels[2:5, 2:5, 1:4] = 3
    labels[2:5, 3:6, 4:7] = 7
    faces, box = found(labels, (4, 4, 4))[3, 7]
    assert faces == 6
    z0, y0, x0, z1, y1, x1 = box
    assert (z0, y0, x0) <= (2, 3, 3) and z1 >= 5 and y1 >= 5 and x1 >= 5


def test_a_volume_without_contacts_has_none():
    assert found(np.zeros((4, 4, 4), np.uint32), (2, 2, 2)) == {}


def test_it_can_be_cancelled():
    cancel = CancelToken()
    cancel.cancel()
    with pytest.raises(Cancelled):
        find_contacts(InMemory(np.zeros((4, 4, 4), np.uint32)), Progress(), cancel)

"""The simple scans are what their table says."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from tests.benchmarks.simple_scans import KINDS, LEAST_VOXELS, cells, simple_scans, thrown

SMALL = (40, 48, 48)


@pytest.fixture(scope="module")
def scans():
    return list(simple_scans(SMALL))


def test_every_label_is_one_piece(scans):
    assert [scan.name for scan in scans] == list(KINDS)
    for scan in scans:
        boxes = ndimage.find_objects(scan.labels.astype(np.int32))
        assert len(boxes) >= 3, scan.name
        for number, box in enumerate(boxes, start=1):
            body = scan.labels[box] == number
            assert body.sum() >= LEAST_VOXELS, scan.name
            assert ndimage.label(body)[1] == 1, scan.name


def test_particles_differ_from_the_matrix(scans):
    for scan in scans:
        assert scan.grey.dtype == np.uint16
        inside = np.median(scan.grey[scan.labels > 0].astype(float))
        outside = np.median(scan.grey[scan.labels == 0].astype(float))
        assert (inside < outside) == (scan.name == "darker than the matrix"), scan.name


def test_the_same_seed_gives_the_same_scans(scans):
    again = next(simple_scans(SMALL))
    assert np.array_equal(again.grey, scans[0].grey)
    other = next(simple_scans(SMALL, seed=1))
    assert not np.array_equal(other.labels, scans[0].labels)


def test_cells_keep_the_gap_and_bodies_touch():
    def touching(labels):
        count = 0
        for axis in range(3):
            a = np.moveaxis(labels, axis, 0)
            count += ((a[1:] != a[:-1]) & (a[1:] > 0) & (a[:-1] > 0)).sum()
        return count

    apart = cells(np.random.default_rng(2), SMALL, 16, gap=2.5, share=1.0)
    assert (apart > 0).mean() > 0.4
    assert touching(apart) == 0
    assert touching(thrown(np.random.default_rng(2), SMALL, 16, 0.2, 0.4)) > 0

"""Phases counted block by block against plain counting, and what they add to the table."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from particleseg_app.errors import Cancelled, InvalidValueError
from particleseg_app.particles import phase_counting
from particleseg_app.particles.phase_counting import (
    ENOUGH_VOXELS,
    count_phases,
    count_phases_of,
    shares_of,
)
from particleseg_app.particles.phases import (
    MAIN_PHASE,
    Phases,
    columns_of,
    phase_names,
    with_phases,
    without_phases,
)
from particleseg_app.progress import CancelToken, Progress
from particleseg_app.units import Box
from tests.particles.particle_bodies import Volume
from tests.particles.phase_volumes import grain_scan, plain_counts, plain_shares, proposed

VOLUMES = st.tuples(*[st.integers(1, 8)] * 3).flatmap(
    lambda shape: st.tuples(
        # Few labels, so that there are interior voxels.
        hnp.arrays(np.uint32, shape, elements=st.sampled_from([0, 1, 1, 1, 2])),
        st.sampled_from([np.uint8, np.uint16, np.float32]).flatmap(
            lambda kind: hnp.arrays(kind, shape, elements=st.integers(0, 200).map(float))
        ),
    )
)
THRESHOLDS = st.lists(st.integers(0, 400).map(lambda n: n / 2), max_size=4, unique=True).map(
    lambda found: tuple(sorted(found))
)


def counted(labels, grey, thresholds, block_shape=None, cancel=None):
    return count_phases(
        Volume(labels), Volume(grey), thresholds, Progress(), cancel or CancelToken(), block_shape
    )


@settings(max_examples=60, deadline=None)
@given(VOLUMES, THRESHOLDS, st.tuples(st.integers(1, 5), st.integers(1, 5)))
def test_blocks_do_not_change_the_counts(volumes, thresholds, block_shape):
    labels, grey = volumes
    wanted = plain_counts(labels, grey, thresholds)
    np.testing.assert_array_equal(counted(labels, grey, thresholds, block_shape), wanted)


@pytest.mark.parametrize("slab_voxels", [1, 10**6])
def test_a_few_particles_count_as_in_the_whole_volume(slab_voxels, monkeypatch):
    monkeypatch.setattr(phase_counting, "_SLAB_VOXELS", slab_voxels)
    scan = grain_scan((20_000.0, 30_000.0))
    labels = scan.labels[4:40, 4:40, 4:40]  # cut by the edge
    grey = scan.grey[4:40, 4:40, 4:40]
    whole = counted(labels, grey, (25_000.0,))
    np.testing.assert_array_equal(whole, plain_counts(labels, grey, (25_000.0,)))
    some = [int(n) for n in np.unique(labels)[1::3]]
    boxes = {label: Box.whole(labels.shape) for label in some}
    few = count_phases_of(Volume(labels), Volume(grey), (25_000.0,), boxes, CancelToken())
    np.testing.assert_array_equal(few, whole[some])


def test_the_rim_does_not_count_and_the_scans_edge_is_no_rim():
    labels = np.zeros((12, 12, 12), np.uint32)
    labels[0:8, 2:10, 2:10] = 1
    grey = np.where(labels > 0, 100, 10).astype(np.uint8)
    grey[0:8, 2, 2:10] = 0  # one face is blurred
    counts = counted(labels, grey, (95.0,))[1]
    assert counts[2].tolist() == [0, 6 * 4 * 4]
    assert counts[1].tolist() == [0, 7 * 6 * 6 - 6 * 4 * 4]
    assert counts[0, 0] > 0
    np.testing.assert_array_equal(shares_of(counts[None]), [[0.0, 1.0]])


def test_smaller_particles_count_nearer_to_their_surface():
    labels = np.zeros((3, 12, 12), np.uint32)
    grey = np.zeros(labels.shape, np.uint16)
    labels[1, 2:10, 2:10] = 1  # too thin for any inner voxel
    grey[1, 2:10, 2:10] = 300
    grey[1, 2:10, 2:4] = 900
    counts = counted(labels, grey, (500.0,))
    assert counts[1, 1:].sum() == 0
    np.testing.assert_allclose(shares_of(counts)[1], [0.75, 0.25])
    many, few = ENOUGH_VOXELS, ENOUGH_VOXELS - 1
    levels = [
        [[9, 0], [0, many], [few, 0]],
        [[9, 0], [0, many], [many, 0]],
        [[3, 1], [0, 0], [0, 0]],
    ]
    shares = shares_of(np.array(levels))
    np.testing.assert_allclose(shares[:, 0], [few / (few + many), 1.0, 0.75])


def test_neighbours_have_no_part_in_a_particles_grey_values():
    labels = np.zeros((6, 20, 20), np.uint32)
    labels[0:3], labels[3:6] = 1, 2
    grey = np.where(labels == 1, 300, 900).astype(np.uint16)
    counts = counted(labels, grey, (301.0, 899.0))
    np.testing.assert_array_equal(counts.sum(axis=1), [[0, 0, 0], [1200, 0, 0], [0, 0, 1200]])


def test_the_main_phase_is_the_true_one_under_noise_and_blur():
    scan = grain_scan((20_000.0, 24_000.0, 30_000.0), noise=1500.0)
    counts = counted(scan.labels, scan.grey, (22_000.0, 27_000.0))
    shares = shares_of(counts)
    np.testing.assert_allclose(
        shares, plain_shares(plain_counts(scan.labels, scan.grey, (22_000.0, 27_000.0)))
    )
    np.testing.assert_array_equal(shares[1:].argmax(axis=1), scan.phase[1:])
    assert shares[1:].max(axis=1).min() > 0.9


def test_counting_can_be_cancelled():
    cancel = CancelToken()
    cancel.cancel()
    scan = grain_scan((20_000.0,))
    with pytest.raises(Cancelled):
        counted(scan.labels, scan.grey, (), cancel=cancel)


def test_the_tables_columns():
    table = pd.DataFrame({"label": [1, 2, 3], "volume_voxels": [10, 20, 30]})
    table.attrs["voxel_size_um"] = 2.0
    names = ("Quartz", "Iron oxide")
    both = with_phases(table, np.array([[0.75, 0.25], [0.5, 0.5], [0.0, 1.0]]), names)
    assert both[MAIN_PHASE].tolist() == ["Quartz", "Quartz", "Iron oxide"]
    assert both["share_quartz"].tolist() == [0.75, 0.5, 0.0]
    assert both["share_iron_oxide"].tolist() == [0.25, 0.5, 1.0]
    assert phase_names(both) == names
    assert both.attrs["voxel_size_um"] == 2.0
    # By brightness, not by name.
    assert both[MAIN_PHASE].max() == "Iron oxide"
    described = {column.name: column for column in columns_of(both)}
    assert described[MAIN_PHASE].kind == "name"
    assert described[MAIN_PHASE].text("Quartz") == "Quartz"
    assert "Iron oxide" in described["share_iron_oxide"].description
    pd.testing.assert_frame_equal(without_phases(both), table)
    assert phase_names(table) == ()
    renamed = with_phases(both, np.ones((3, 1)), ("Only",))
    assert list(renamed.columns) == ["label", "volume_voxels", MAIN_PHASE, "share_only"]


@pytest.mark.parametrize(
    ("names", "thresholds", "sentence"),
    [
        ((), (), "0 phases"),
        (tuple("abcdef"), (1, 2, 3, 4, 5), "6 phases"),
        (("a", "b"), (), "need 1 threshold"),
        (("a", "b", "c"), (2.0, 2.0), "ascend"),
        (("a", "b"), (float("nan"),), "number"),
        (("a", "++"), (2.0,), "name"),
        (("Iron oxide", "iron  OXIDE"), (2.0,), "told apart"),
    ],
)
def test_impossible_phases_are_told(names, thresholds, sentence):
    with pytest.raises(InvalidValueError, match=sentence):
        Phases(names, thresholds)


def test_a_few_wild_voxels_do_not_hide_the_phases():
    random = np.random.default_rng(2)
    labels = np.zeros((40, 60, 60), np.uint32)
    for number, (z, y, x) in enumerate(np.ndindex(2, 3, 3), start=1):
        place = np.s_[z * 20 + 2 : z * 20 + 18, y * 20 + 2 : y * 20 + 18, x * 20 + 2 : x * 20 + 18]
        labels[place] = number
    grey = np.where(labels > 9, 1.0, np.where(labels > 0, 0.5, 0.1))
    grey = (grey + random.normal(0, 0.02, labels.shape)).astype(np.float32)
    plain = proposed(labels, grey)
    grey[0, 0, :2] = 1e5, -1e5
    wild = proposed(labels, grey)
    assert plain.count == wild.count == 2
    assert plain.thresholds[1] == pytest.approx(wild.thresholds[1], abs=0.05)

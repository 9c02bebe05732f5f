"""Measured particles against bodies that are known, and against simple counting."""

from __future__ import annotations

import random
import time

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from particleseg_app.errors import Cancelled, InvalidValueError
from particleseg_app.particles import COLUMNS, measure_particles
from particleseg_app.particles import measure as measure_module
from particleseg_app.progress import CancelToken, Progress
from particleseg_app.volumes import FieldOfView
from tests.particles.particle_bodies import Volume, cube, ellipsoid, measure, sphere

SMALL_SHAPE = st.tuples(*[st.integers(1, 9)] * 3)
LABELS = SMALL_SHAPE.flatmap(
    lambda shape: hnp.arrays(np.uint32, shape, elements=st.integers(0, 4))
).filter(lambda a: a.any())


@pytest.mark.parametrize(
    ("radius", "percent"), [(3, 3.5), (5, 2.0), (8, 1.0), (15, 0.5), (30, 0.3)]
)
def test_surface_of_spheres(radius, percent):
    rng = np.random.default_rng(radius)
    for _ in range(3):
        body = sphere(radius, rng)
        table = measure(body.inside)
        assert table.surface_area_um2[0] == pytest.approx(body.surface, rel=percent / 100)
        assert table.sphericity[0] == pytest.approx(1.0, abs=2 * percent / 100)
        diameter = table.equivalent_diameter_um[0]
        assert diameter == pytest.approx(2 * radius, rel=percent / 100)


@pytest.mark.parametrize("semi_axes", [(6, 9, 12), (8, 8, 20), (8, 20, 20)])
def test_surface_of_ellipsoids_in_any_position(semi_axes):
    rng = np.random.default_rng(4)
    for _ in range(3):
        body = ellipsoid(semi_axes, rng)
        assert measure(body.inside).surface_area_um2[0] == pytest.approx(body.surface, rel=0.025)


def test_surface_of_cubes_in_any_position():
    rng = np.random.default_rng(5)
    errors = []
    for _ in range(6):
        body = cube(24, rng)
        errors.append(measure(body.inside).surface_area_um2[0] / body.surface - 1)
    assert min(errors) > -0.10
    assert max(errors) < 0.03


def test_touching_particles_keep_their_own_surface():
    rng = np.random.default_rng(6)
    inside = sphere(10, rng).inside
    alone = measure(inside)
    half = inside.shape[2] // 2
    left, right = inside.copy(), inside.copy()
    left[:, :, half:] = False
    right[:, :, :half] = False
    pair = measure(left + 2 * right.astype(np.uint32))
    apart = [measure(part).surface_area_um2[0] for part in (left, right)]
    assert list(pair.surface_area_um2) == pytest.approx(apart)
    assert pair.volume_voxels.sum() == alone.volume_voxels[0]


def test_a_particle_cut_by_the_edge_of_the_scan_has_a_surface_there():
    rng = np.random.default_rng(7)
    inside = sphere(10, rng).inside
    half = inside[inside.shape[0] // 2 :]
    padded = np.pad(half, 1)
    cut = measure(half)
    assert cut.surface_area_um2[0] == measure(padded).surface_area_um2[0]
    assert cut.touches_scan_edge[0]
    assert not measure(padded).touches_scan_edge[0]


@given(labels=LABELS, layers=st.integers(1, 10), rows=st.integers(1, 10))
@settings(deadline=None, max_examples=80)
def test_the_blocks_do_not_change_the_result(labels, layers, rows):
    grey = np.random.default_rng(labels.size).integers(0, 65535, labels.shape).astype(np.uint16)
    expected = measure(labels, grey, block_shape=labels.shape[:2])
    pd.testing.assert_frame_equal(
        measure(labels, grey, block_shape=(layers, rows)), expected, check_exact=True
    )


@given(labels=LABELS)
@settings(deadline=None, max_examples=60)
def test_values_agree_with_counting_voxel_by_voxel(labels):
    grey = np.random.default_rng(1).normal(1e5, 3, labels.shape).astype(np.float32)
    table = measure(labels, grey, voxel_size_um=2.0, block_shape=(2, 3)).set_index("label")
    assert list(table.index) == [n for n in np.unique(labels) if n]
    assert table.volume_voxels.sum() == np.count_nonzero(labels)
    for label, row in table.iterrows():
        where = np.argwhere(labels == label)
        assert row.volume_um3 == 8.0 * len(where)
        centroid = row[["centroid_z_um", "centroid_y_um", "centroid_x_um"]].to_numpy(float)
        assert centroid == pytest.approx(2.0 * (where.mean(0) + 0.5))
        lower = row[["box_z_min", "box_y_min", "box_x_min"]].to_numpy(int)
        upper = row[["box_z_max", "box_y_max", "box_x_max"]].to_numpy(int)
        assert list(lower) == list(where.min(0))
        assert list(upper) == list(where.max(0) + 1)
        inside = grey[labels == label].astype(np.float64)
        assert row.grey_mean == pytest.approx(inside.mean(), rel=1e-12)
        assert row.grey_std == pytest.approx(inside.std(), rel=1e-6, abs=1e-6)


@given(labels=LABELS, shift=st.tuples(*[st.integers(1, 4)] * 3))
@settings(deadline=None, max_examples=40)
def test_a_move_changes_only_the_position(labels, shift):
    here = measure(np.pad(labels, 1))
    there = measure(np.pad(labels, [(s, 5 - s) for s in shift]), block_shape=(3, 2))
    position = [n for n in here.columns if n.startswith(("centroid", "box"))]
    pd.testing.assert_frame_equal(here.drop(columns=position), there.drop(columns=position))
    for axis, s in zip("zyx", shift, strict=True):
        moved = there[f"centroid_{axis}_um"] - here[f"centroid_{axis}_um"]
        assert np.allclose(moved, s - 1)


@given(labels=LABELS, order=st.permutations([0, 1, 2]))
@settings(deadline=None, max_examples=40)
def test_surface_does_not_depend_on_the_axes(labels, order):
    here, turned = measure(labels), measure(np.ascontiguousarray(labels.transpose(order)[::-1]))
    assert np.allclose(here.surface_area_um2, turned.surface_area_um2, rtol=1e-12)


def test_grey_values_of_one_particle_far_from_the_others():
    labels = np.zeros((20, 20, 20), np.uint32)
    labels[:10], labels[10:] = 1, 2
    offset = np.where(labels == 1, 1e6, 0.0)
    grey = offset + np.random.default_rng(0).normal(0, 1.0, labels.shape)
    table = measure(labels, grey)
    assert list(table.grey_std) == pytest.approx([grey[:10].std(), grey[10:].std()], rel=0.05)


def test_labels_with_gaps_and_columns():
    labels = np.zeros((4, 4, 4), np.uint32)
    labels[1, 1, 1], labels[2, 2, 2] = 3, 9
    table = measure(labels, voxel_size_um=5.0)
    assert list(table.label) == [3, 9]
    assert tuple(table.columns) == tuple(c.name for c in COLUMNS)
    assert table.grey_mean.isna().all()
    assert table.attrs["voxel_size_um"] == 5.0
    assert list(table.index) == [0, 1]


def test_no_particles_gives_an_empty_table():
    table = measure(np.zeros((5, 6, 7), np.uint32))
    assert len(table) == 0
    assert tuple(table.columns) == tuple(c.name for c in COLUMNS)


def test_impossible_voxel_size_and_cancel():
    with pytest.raises(InvalidValueError):
        measure(np.ones((3, 3, 3)), voxel_size_um=0)
    cancel = CancelToken()
    cancel.cancel()
    with pytest.raises(Cancelled):
        measure_particles(Volume(np.ones((3, 3, 3), np.uint32)), None, 1.0, Progress(), cancel)


def test_many_threads_give_the_sums_of_one_to_the_last_digit(monkeypatch):
    rng = np.random.default_rng(3)
    labels = np.kron(rng.integers(0, 30, (6, 6, 4)), np.ones((5, 4, 6), int))
    grey = rng.normal(1000, 300, labels.shape)
    monkeypatch.setattr(measure_module, "pieces_at_once", lambda *_: 1)
    expected = measure(labels, grey, block_shape=(2, 3))
    add = measure_module._Sums.add

    def at_its_own_pace(self, block, *others):
        time.sleep(random.uniform(0, 0.01))
        add(self, block, *others)

    monkeypatch.setattr(measure_module._Sums, "add", at_its_own_pace)
    monkeypatch.setattr(measure_module, "pieces_at_once", lambda *_: 7)
    found = measure(labels, grey, block_shape=(2, 3))
    pd.testing.assert_frame_equal(found, expected, check_exact=True)


def test_a_label_above_the_count_is_refused():
    volume = Volume(np.full((5, 5, 5), 3, np.uint32))
    volume.count = 2
    with pytest.raises(ValueError, match="above the count"):
        measure_particles(volume, None, 1.0, Progress(), CancelToken())


def test_what_the_edge_of_the_field_of_view_cuts_touches_the_edge() -> None:
    outside = np.zeros((100, 60), bool)
    outside[:, 0] = True
    labels = np.zeros((40, 100, 60), np.uint32)
    labels[1:39, 22:97, 4:58] = 3  # 6 % of its diameter are 3.99 voxels
    labels[1:5, 2:6, 4:8] = 1
    labels[1:5, 10:14, 2:6] = 2

    def cut(**more: object) -> list[bool]:
        scan = Volume(labels.astype(np.float32))
        scan.field_of_view = FieldOfView(outside, 0.0)  # type: ignore[assignment]
        volume = Volume(labels)
        table = measure_particles(volume, scan, 1.0, Progress(), CancelToken(), **more)  # type: ignore[arg-type]
        return table["touches_scan_edge"].tolist()

    assert cut() == [False, True, False]
    labels[1:39, 97:99, 4:58] = 3  # 4.02 voxels
    assert cut() == cut(block_shape=(2, 7)) == [False, True, True]

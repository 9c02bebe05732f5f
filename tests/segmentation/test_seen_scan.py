"""Outside of the field of view lies matrix for all that looks for particles."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile

from particleseg_app.models import find_model
from particleseg_app.progress import CancelToken, Progress
from particleseg_app.projects import Project
from particleseg_app.projects.segmentation_job import run_segmentation_job, run_table
from particleseg_app.segmentation import RunSettings
from particleseg_app.segmentation.network_input import network_input
from particleseg_app.segmentation.seen_scan import SeenScan, seen, view_note
from particleseg_app.units import Box
from particleseg_app.volumes import FieldOfView, inspect_source
from particleseg_app.volumes.granulometry import diameter_by_threshold
from tests.segmentation.volumes import ArrayVolume

SHAPE = (40, 96, 96)
MATRIX, BRIGHT = 8000, 15_000
OUTSIDE = np.hypot(*(np.indices(SHAPE[1:]) - 47.5)) > 46


def balls() -> np.ndarray:
    """Balls of 12 voxels, 18 apart, in matrix with noise; the edge of the circle cuts some."""
    grey = np.random.default_rng(5).normal(MATRIX, 400, SHAPE)
    z, y, x = np.indices(SHAPE)
    place = ((z - 2) % 18 - 9, (y - 2) % 18 - 9, (x - 2) % 18 - 9)
    grey[sum(np.square(axis) for axis in place) <= 36] += BRIGHT - MATRIX
    return grey.astype(np.uint16)


def test_only_what_is_outside_is_read_as_matrix() -> None:
    grey = balls()
    filled = np.where(OUTSIDE, 65_535, grey).astype(np.uint16)
    scan = ArrayVolume(filled)
    scan.statistics = ArrayVolume(grey[:, ~OUTSIDE]).statistics  # as an import would have it
    shown = SeenScan(scan, FieldOfView(OUTSIDE, 65_535.0))
    whole = shown.read(Box.whole(SHAPE))
    assert whole.dtype == np.uint16
    assert np.array_equal(whole[:, ~OUTSIDE], grey[:, ~OUTSIDE])
    assert abs(whole[:, OUTSIDE].mean() - MATRIX) < 100
    assert 250 < whole[:, OUTSIDE].std() < 550  # the noise of the matrix is 400
    for box in (Box((3, 0, 5), (9, 20, 96)), Box((0, 40, 40), (4, 50, 50))):
        assert np.array_equal(shown.read(box), whole[box.slices])


@pytest.mark.parametrize("filled", [0, 30_000])
def test_what_is_measured_about_a_scan_leaves_out_what_was_not_seen(filled: int) -> None:
    """Noise, and slices of uneven brightness, are those of the scan without a field of view."""
    random = np.random.default_rng(8)
    steps = random.normal(0, 1500, SHAPE[0])
    rough = random.normal(0, 4000, SHAPE)
    flickering = balls() + steps[:, None, None]
    noisy = balls() + rough
    for grey in (flickering, noisy):
        grey = np.clip(grey, 1, 60_000).astype(np.uint16)
        whole = ArrayVolume(grey)
        cut = ArrayVolume(np.where(OUTSIDE, filled, grey).astype(np.uint16))
        cut.field_of_view = FieldOfView(OUTSIDE, float(filled))  # type: ignore[assignment]
        cut.statistics = ArrayVolume(grey[:, ~OUTSIDE]).statistics
        card, asked = find_model("light").card, RunSettings(2.0, 24.0)
        one, other = (
            network_input(scan, card, asked, Progress(), CancelToken())  # type: ignore[arg-type]
            for scan in (whole, cut)
        )
        assert other.rings is None
        assert (one.evening is None) == (other.evening is None)
        if one.evening is not None and other.evening is not None:
            difference = np.subtract(one.evening.offsets, other.evening.offsets)
            assert difference.std() < 0.1 * np.std(one.evening.offsets)
        assert (one.denoising is None) == (other.denoising is None)
        if one.denoising is not None and other.denoising is not None:
            wanted, got = one.denoising, other.denoising
            assert got.contrast_to_noise == pytest.approx(wanted.contrast_to_noise, rel=0.1)
            assert got.scaling.mean == pytest.approx(wanted.scaling.mean, rel=0.05)
            assert got.scaling.std == pytest.approx(wanted.scaling.std, rel=0.15)
        else:
            assert other.evening is not None  # each scan has one of the two
        # What is shown outside looks like matrix in every slice.
        shown = other.volume.read(Box.whole(SHAPE))[:, OUTSIDE].mean(axis=1)
        assert np.abs(shown - MATRIX).max() < 0.15 * (BRIGHT - MATRIX)


def test_a_scan_that_was_seen_whole_stays_itself() -> None:
    scan = ArrayVolume(balls())
    assert seen(scan) is scan


@pytest.mark.parametrize("filled", [0, 12_000, 65_535])
def test_a_run_finds_no_particle_outside_and_marks_those_that_are_cut(
    filled: int, tmp_path: Path
) -> None:
    grey = np.where(OUTSIDE, filled, balls()).astype(np.uint16)
    tifffile.imwrite(tmp_path / "scan.tif", grey, photometric="minisblack")
    settings = {"voxel_size_um": 2.0, "particle_diameter_um": 24.0, "method": "threshwater"}
    progress = Progress()
    with Project.create(tmp_path / "project") as project:
        source = inspect_source(tmp_path / "scan.tif")
        entry = project.add_scan(source, Progress(), CancelToken())
        run = project.new_run(entry.id, settings)
        result = run_segmentation_job(project, run.id, progress, CancelToken())
        table = run_table(project, run.id)
        with project.open_scan(entry.id) as scan:
            assert scan.field_of_view is not None
            assert view_note(scan.field_of_view) in progress.snapshot().messages
            proposal = diameter_by_threshold(seen(scan), CancelToken())
    assert result.particle_count == len(table)
    middles = [11.0 + 18 * n for n in range(-1, 6)]
    from_axis = np.array([np.hypot(y - 47.5, x - 47.5) for y in middles for x in middles])
    # All of two layers of balls whose middle is in view; of others there may be a piece.
    assert 2 * sum(from_axis < 46) <= len(table) <= 2 * sum(from_axis < 46 + 6)
    whole = table[~table["touches_scan_edge"]]
    diameters = whole["equivalent_diameter_um"] / 2.0
    assert diameters.between(10.5, 13).all()
    assert 2 * sum(from_axis + 6 < 46 - 2) <= len(whole) <= 2 * sum(from_axis + 6 < 46 + 1)
    assert proposal is not None and 10 < proposal.diameter_voxels < 14

"""Objects that run through the scan along z are left out, whatever the blocks are."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st

from particleseg_app.progress import CancelToken, Progress
from particleseg_app.segmentation import RunSettings, segment
from particleseg_app.segmentation.border_core import labels_to_border_core
from particleseg_app.segmentation.containers import LeftOut, left_out_notes
from particleseg_app.segmentation.particles_from_classes import particles_from_classes
from particleseg_app.segmentation.tube_wall import Line, TubeWall
from particleseg_app.units import Box, Shape
from particleseg_app.volumes import import_scan, inspect_source, open_labels, open_scan
from tests.segmentation.class_volumes import Classes, separate_balls
from tests.segmentation.test_particles_from_classes import expected, random_blocks, random_classes

HEIGHT, WIDTH = 60, 48


def tube(bottom: int = 0, top: int = HEIGHT) -> tuple[np.ndarray, int]:
    """Labels of particles in a wall of four touching pieces that end at `bottom` and `top`."""
    centres = [(z, y, x) for z in range(6, HEIGHT, 12) for y in (18, 30) for x in (18, 30)]
    labels = separate_balls((HEIGHT, WIDTH, WIDTH), [(centre, 5) for centre in centres])
    _, y, x = np.indices(labels.shape) - WIDTH / 2 + 0.5
    wall = (np.hypot(y, x) > 16) & (np.hypot(y, x) < 23)
    wall[:bottom] = wall[top:] = False
    labels[wall] = (len(centres) + 1 + (y > 0) + 2 * (x > 0))[wall]
    return labels, len(centres)


def convert(
    classes: np.ndarray,
    block_shape: Shape,
    scan_shape: Shape | None = None,
    factor: float = 1.0,
    min_relative: float = 0.0,
    leave_out: bool = True,
    found: TubeWall | None = None,
) -> tuple[np.ndarray, LeftOut]:
    """Labels at the scan's grid, and how much was told to be left out."""
    told: list[LeftOut] = []
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "labels.h5"
        particles_from_classes(
            Classes(classes),
            scan_shape or (classes.shape[0], classes.shape[1], classes.shape[2]),
            factor,
            Path(name) / "work",
            path,
            min_relative,
            Progress(),
            CancelToken(),
            block_shape=block_shape,
            leave_out_running_through=leave_out,
            tube=found,
            left_out=told.append,
        )
        with open_labels(path) as labels:
            array = labels.read(Box.whole(labels.shape))
            assert labels.count == array.max(initial=0)
    assert len(told) == 1
    return array, told[0]


@pytest.mark.parametrize("block_shape", [(25, 30, 48), (60, 48, 48)])
def test_a_tube_wall_of_touching_pieces_goes(block_shape: Shape) -> None:
    labels, particles = tube()
    classes = labels_to_border_core(labels, 2)
    found, containers = convert(classes, block_shape)
    assert containers == LeftOut(0, 4)
    assert found.max() == particles
    np.testing.assert_array_equal(found > 0, (labels > 0) & (labels <= particles))
    kept, containers = convert(classes, block_shape, leave_out=False)
    assert containers.count == 0 and kept.max() == particles + 4


@pytest.mark.parametrize(("bottom", "top"), [(0, HEIGHT - 1), (1, HEIGHT)])
def test_what_touches_one_end_only_stays(bottom: int, top: int) -> None:
    labels, particles = tube(bottom, top)
    found, containers = convert(labels_to_border_core(labels, 2), (25, 30, 48))
    assert containers.count == 0 and found.max() == particles + 4


def test_a_container_does_not_raise_the_mean_volume() -> None:
    # Half of the mean with the wall in it is more than a particle.
    labels, particles = tube()
    found, containers = convert(labels_to_border_core(labels, 2), (60, 48, 48), min_relative=0.5)
    assert containers.count == 4 and found.max() == particles


@settings(max_examples=25, deadline=None)
@given(st.data(), st.integers(1, 9), st.sampled_from([0.5, 0.77, 1.0, 2.0]))
def test_any_blocks_and_scale_leave_out_the_same(
    data: st.DataObject, height: int, factor: float
) -> None:
    scan_shape = (height, 14, 12)
    z, y, x = (max(1, round(n * factor)) for n in scan_shape)
    classes = data.draw(random_classes((z, y, x)))
    found, containers = convert(classes, data.draw(random_blocks((z, y, x))), scan_shape, factor)
    whole = expected(classes, scan_shape, 0.0, small_core_filter=True)
    through = np.intersect1d(whole[0], whole[-1])
    through = through[through > 0]
    assert containers == LeftOut(0, through.size)
    whole[np.isin(whole, through)] = 0
    present = np.unique(whole)
    numbers = np.searchsorted(present[present > 0], whole) + 1
    np.testing.assert_array_equal(found, np.where(whole > 0, numbers, 0))


@settings(max_examples=25, deadline=None)
@given(
    st.data(),
    st.tuples(st.integers(1, 8), st.integers(1, 14), st.integers(1, 12)),
    st.sampled_from([0.5, 0.77, 1.0, 2.0]),
    st.sampled_from([0.0, 0.3]),
    st.booleans(),
)
def test_any_blocks_and_scale_leave_out_the_same_outside_a_tube(
    data: st.DataObject, scan_shape: Shape, factor: float, least: float, through: bool
) -> None:
    z, y, x = (max(1, round(n * factor)) for n in scan_shape)
    classes = data.draw(random_classes((z, y, x)))
    middle = st.floats(-2, 14)
    lean = st.floats(-0.25, 0.25)
    axis_y, axis_x = (Line(data.draw(middle), data.draw(lean)) for _ in range(2))
    found = TubeWall(axis_y, axis_x, Line(data.draw(st.floats(0.5, 8)), data.draw(lean)))
    blocks = data.draw(random_blocks((z, y, x)))
    labels, left_out = convert(classes, blocks, scan_shape, factor, least, through, found)

    whole = expected(classes, scan_shape, 0.0, small_core_filter=True)
    volumes = np.bincount(whole.ravel(), minlength=1)
    inside = inside_of(found, scan_shape)
    beyond = 2 * np.bincount(whole[~inside], minlength=volumes.size) > volumes
    running = np.isin(np.arange(volumes.size), np.intersect1d(whole[0], whole[-1]))
    running &= through & ~beyond
    beyond[0] = running[0] = False
    parts = beyond | running
    kept = (volumes > 0) & ~parts
    kept[0] = False
    limit = least * volumes[kept].mean() if kept.any() else 0.0
    assert left_out == LeftOut(
        int((beyond & (volumes >= limit)).sum()), int((running & (volumes >= limit)).sum())
    )
    kept &= volumes >= limit
    numbers = np.cumsum(kept) * kept
    np.testing.assert_array_equal(labels, numbers[whole])


def inside_of(found: TubeWall, shape: Shape) -> np.ndarray:
    """Voxels inside the wall, told one by one."""
    z, y, x = np.ogrid[[slice(n) for n in shape]]
    off_y = y - (found.axis_y.start + found.axis_y.slope * z)
    off_x = x - (found.axis_x.start + found.axis_x.slope * z)
    radius = found.inner.start + found.inner.slope * z + found.bulge
    return np.asarray((off_x**2 + off_y**2 <= radius**2) & (radius >= 0))


def test_wall_and_specks_beyond_it_go_wherever_they_end() -> None:
    labels, particles = tube(0, 25)
    # A particle that touches the wall in place of another one, and a speck far outside it.
    labels[labels == 1] = 0
    labels[2:11, 12:21, 12:21] = 1
    labels[40:43, 1:4, 1:4] = particles + 10
    middle = Line(WIDTH / 2 - 0.5, 0.0)
    found = TubeWall(middle, middle, Line(15.5, 0.0), Line(23.0, 0.0))
    classes = labels_to_border_core(labels, 2)
    kept, left_out = convert(classes, (25, 30, 48), found=found)
    assert left_out == LeftOut(5, 0)
    assert kept.max() == particles
    assert kept[6, 14, 14] > 0 and kept[41, 2, 2] == 0


def test_a_wall_does_not_raise_the_mean_volume_and_specks_do_not_count() -> None:
    labels, particles = tube(0, 25)
    labels[40:42, 1:3, 1:3] = particles + 5
    middle = Line(WIDTH / 2 - 0.5, 0.0)
    found = TubeWall(middle, middle, Line(15.5, 0.0))
    kept, left_out = convert(
        labels_to_border_core(labels, 2), (60, 48, 48), min_relative=0.5, found=found
    )
    assert left_out == LeftOut(4, 0)
    assert kept.max() == particles


@pytest.mark.parametrize(
    ("left_out", "with_tube", "notes"),
    [
        (LeftOut(), False, []),
        (
            LeftOut(0, 1),
            False,
            [
                "1 object that runs through the scan from the first to the last slice was left out "
                "as part of the container."
            ],
        ),
        (
            LeftOut(),
            True,
            [
                "A tube 3.60 mm wide inside was found; nothing in or outside its wall had to "
                "be left out."
            ],
        ),
        (
            LeftOut(1, 0),
            True,
            ["A tube 3.60 mm wide inside was found; 1 object in or outside its wall was left out."],
        ),
        (
            LeftOut(38, 2),
            True,
            [
                "A tube 3.60 mm wide inside was found; 38 objects in or outside its wall were left "
                "out.",
                "2 objects that run through the scan from the first to the last slice were left "
                "out as part of the container.",
            ],
        ),
    ],
)
def test_what_is_said_of_the_container(
    left_out: LeftOut, with_tube: bool, notes: list[str]
) -> None:
    found = TubeWall(Line(0, 0), Line(0, 0), Line(178.0, 0.2)) if with_tube else None
    assert left_out_notes(left_out, found, 21, 10.0) == notes


@pytest.mark.parametrize(
    ("diameter_um", "leave_out", "containers"),
    [(100.0, True, 1), (101.0, True, 0), (100.0, False, 0)],
)
def test_a_run_says_what_it_left_out_where_the_scan_is_high_enough(
    diameter_um: float, leave_out: bool, containers: int, tmp_path: Path
) -> None:
    # 60 voxels of 10 µm are six times 100 µm.
    grey = np.zeros((60, 24, 24), np.uint16)
    grey[:, 2:8] = 1000
    grey[20:30, 14:20, 5:15] = 1000
    asked = RunSettings(
        10.0, diameter_um, method="threshwater", threshold=500.0, leave_out_containers=leave_out
    )
    tifffile.imwrite(tmp_path / "scan.tif", grey)
    source = inspect_source(tmp_path / "scan.tif")
    import_scan(source, tmp_path / "scan.h5", Progress(), CancelToken())
    with open_scan(tmp_path / "scan.h5") as scan:
        result = segment(tmp_path / "run", scan, asked, Progress(), CancelToken())
    assert result.particle_count == 2 - containers
    assert result.summary["containers_left_out"] == containers
    assert any("container" in note for note in result.summary["notes"]) == bool(containers)

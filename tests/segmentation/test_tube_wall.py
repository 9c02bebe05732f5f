"""A sample tube is found where there is one, exactly; nothing else is taken for one."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st

from particleseg_app.errors import Cancelled
from particleseg_app.progress import CancelToken, Progress
from particleseg_app.segmentation.tube_wall import Line, TubeWall, find_tube
from particleseg_app.training.scenes import simulate_scan
from particleseg_app.units import Box, Shape
from tests.independent_scans import cases
from tests.independent_scans.real import data_folder
from tests.segmentation.tube_scans import DIAMETER, GreyArray, Tube, grains, pictured, tube_scan

SHAPE: Shape = (11, 150, 160)
MIDDLE = (74.0, 81.0)


def found_in(grey: np.ndarray, diameter: float = DIAMETER) -> TubeWall | None:
    return find_tube(GreyArray(grey), diameter, Progress(), CancelToken())


def lost(tube: TubeWall, labels: np.ndarray) -> int:
    """How many of the true particles lie outside the tube by more than half."""
    depth, height, width = labels.shape
    outside = np.zeros(labels.max() + 1, np.int64)
    x = np.arange(width)
    for z in range(depth):
        begin, end = tube.inside(z, np.arange(height), width)
        beyond = (x < begin[:, None]) | (x >= end[:, None])
        outside += np.bincount(labels[z][beyond], minlength=outside.size)
    volumes = np.bincount(labels.ravel(), minlength=outside.size)
    return int((2 * outside > volumes)[1:].sum())


def assert_is(found: TubeWall | None, tube: Tube, height: int, within: float = 1.0) -> None:
    assert found is not None
    for z in (0, height - 1):
        assert abs(found.axis_y.at(z) - tube.axis[0] - tube.lean[0] * z) < within
        assert abs(found.axis_x.at(z) - tube.axis[1] - tube.lean[1] * z) < within
        assert abs(found.inner.at(z) - tube.inner - tube.widening * z) < within


@settings(max_examples=8, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    inner=st.floats(36, 58),
    thickness=st.floats(9, 30),
    off_centre=st.tuples(st.floats(-12, 12), st.floats(-12, 12)),
    lean=st.tuples(st.floats(-0.15, 0.15), st.floats(-0.15, 0.15)),
    widening=st.floats(-0.05, 0.05),
    # Glass like the grains, plastic on glue or epoxy in air, metal.
    levels=st.sampled_from([(1.2, 0.0, 0.0), (1.0, 0.0, -0.2), (0.45, 0.0, -0.4), (2.0, 0.0, 0.0)]),
    share=st.floats(0.05, 0.5),
    at_wall=st.floats(0.0, 0.35),
    noise=st.floats(0.02, 0.15),
)
def test_any_tube_is_found_and_no_particle_lies_outside_it(
    seed: int,
    inner: float,
    thickness: float,
    off_centre: tuple[float, float],
    lean: tuple[float, float],
    widening: float,
    levels: tuple[float, float, float],
    share: float,
    at_wall: float,
    noise: float,
) -> None:
    axis = (MIDDLE[0] + off_centre[0], MIDDLE[1] + off_centre[1])
    tube = Tube(axis, inner, thickness, lean, widening, *levels)
    random = np.random.default_rng(seed)
    grey, labels = tube_scan(random, SHAPE, tube, share, at_wall, noise)
    found = found_in(grey)
    assert_is(found, tube, SHAPE[0])
    assert found is not None and lost(found, labels) == 0


@pytest.mark.parametrize(
    "axis", [(75.0, 25.0), (20.0, 20.0), (130.0, 80.0)], ids=["side", "corner", "below"]
)
def test_a_tube_that_the_picture_cuts_off_is_found(axis: tuple[float, float]) -> None:
    tube = Tube(axis, 52.0, 14.0, (0.05, -0.03))
    grey, labels = tube_scan(np.random.default_rng(1), SHAPE, tube)
    found = found_in(grey)
    assert_is(found, tube, SHAPE[0], within=2.0)
    assert found is not None and lost(found, labels) == 0


def test_a_wall_whose_outer_side_is_not_in_the_picture_is_found() -> None:
    tube = Tube(MIDDLE, 60.0, 200.0)
    found = found_in(tube_scan(np.random.default_rng(2), SHAPE, tube)[0])
    assert_is(found, tube, SHAPE[0])
    assert found is not None and found.outer is None


def test_the_outer_side_may_have_another_profile() -> None:
    tube = Tube(MIDDLE, 45.0, 18.0)
    grey, _ = tube_scan(np.random.default_rng(3), SHAPE, tube)
    steps = tube.distance(SHAPE) > 55 + np.arange(SHAPE[0])[:, None, None] % 8
    grey[steps] = np.minimum(grey[steps], 15000)
    assert_is(found_in(grey), tube, SHAPE[0])


def test_an_oval_tube_keeps_the_grains_in_its_bulges() -> None:
    random = np.random.default_rng(4)
    y, x = np.ogrid[: SHAPE[1], : SHAPE[2]]
    off_y, off_x = y - MIDDLE[0], x - MIDDLE[1]
    angle = np.arctan2(off_y, off_x)
    distance = np.broadcast_to(np.hypot(off_y, off_x) / (1 + 0.03 * np.cos(2 * angle)), SHAPE)
    labels = grains(random, SHAPE, (distance < 55).copy(), 0.45, 6.0)
    level = np.where((distance >= 55) & (distance < 68), 1.2, 0.0)
    found = found_in(pictured(random, np.where(labels > 0, 1.0, level), 0.05))
    assert found is not None
    assert 0.5 < found.bulge < 4
    assert lost(found, labels) == 0


def test_a_large_scan_is_looked_at_coarsely() -> None:
    tube = Tube((600.0, 530.0), 300.0, 60.0)
    distance = tube.distance((1, 1150, 1120))[0]
    level = np.where((distance > 300) & (distance < 360), 1.2, 0.0)
    random = np.random.default_rng(5)
    for y, x in random.uniform(-200, 200, (40, 2)):
        level[
            tuple(
                slice(int(c + m) - 20, int(c + m) + 20)
                for c, m in zip((y, x), tube.axis, strict=True)
            )
        ] = 1.0
    grey = np.repeat(pictured(random, level, 0.1)[None], 3, axis=0)
    assert_is(found_in(grey, 40.0), tube, 3, within=1.5)


def test_the_same_scan_gives_the_same_tube() -> None:
    grey, _ = tube_scan(np.random.default_rng(6), SHAPE, Tube(MIDDLE, 50.0, 14.0))
    assert found_in(grey) == found_in(grey.copy())


def test_a_tube_can_be_written_down() -> None:
    for outer in (None, Line(61.3, -0.7)):
        tube = TubeWall(Line(10.1, 1e-3), Line(0.1 + 0.2, 0.0), Line(50.0, 0.01), outer, 0.3)
        assert TubeWall.from_dict(json.loads(json.dumps(tube.as_dict()))) == tube


@settings(max_examples=50, deadline=None)
@given(
    y=st.floats(-20, 40), x=st.floats(-20, 40), inner=st.floats(0.1, 30), slope=st.floats(-0.2, 0.2)
)
def test_the_rows_inside_are_the_voxels_within_the_radius(
    y: float, x: float, inner: float, slope: float
) -> None:
    tube = TubeWall(Line(y, slope), Line(x, -slope), Line(inner, 0.0), None, 0.25)
    for z in (0, 3):
        begin, end = tube.inside(z, np.arange(20), 25)
        columns = np.arange(25)
        inside = (columns >= begin[:, None]) & (columns < end[:, None])
        distance = np.hypot(
            np.arange(20)[:, None] - y - slope * z, np.arange(25)[None, :] - x + slope * z
        )
        doubtful = np.abs(distance - inner - 0.25) < 1e-9
        np.testing.assert_array_equal(inside[~doubtful], (distance <= inner + 0.25)[~doubtful])


def packing(random: np.random.Generator) -> np.ndarray:
    """Grains packed as densely as they go, everywhere."""
    return np.minimum(grains(random, SHAPE, np.ones(SHAPE, bool), 0.8), 1)


def round_packing(random: np.random.Generator) -> np.ndarray:
    """Grains as a tube would have held them, but without one."""
    distance = Tube(MIDDLE, 0.0, 0.0).distance(SHAPE)
    return np.minimum(grains(random, SHAPE, distance < 60, 0.8), 1)


def round_particle(random: np.random.Generator) -> np.ndarray:
    return np.where(Tube(MIDDLE, 0.0, 0.0).distance(SHAPE) < 50, 1.0, 0.0)


def hollow_particle(random: np.random.Generator) -> np.ndarray:
    """A hollow ball: its walls do not stand along z."""
    z, y, x = np.ogrid[[slice(n) for n in SHAPE]]
    distance = np.sqrt((4.0 * (z - 5)) ** 2 + (y - MIDDLE[0]) ** 2 + (x - MIDDLE[1]) ** 2)
    return np.where((distance < 60) & (distance > 45), 1.0, 0.0)


def epoxy(random: np.random.Generator) -> np.ndarray:
    """A cylinder of epoxy in air, with grains."""
    distance = Tube(MIDDLE, 0.0, 0.0).distance(SHAPE)
    level = np.where(distance < 62, 0.4, 0.0)
    return np.where(grains(random, SHAPE, distance < 60, 0.3) > 0, 1.0, level)


def cupped_epoxy(random: np.random.Generator) -> np.ndarray:
    """Epoxy brighter at its rim, from beam hardening."""
    distance = Tube(MIDDLE, 0.0, 0.0).distance(SHAPE)
    level = np.where(distance < 62, 0.2 + 0.5 * (distance / 62) ** 4, 0.0)
    return level + 0.5 * (grains(random, SHAPE, distance < 60, 0.3) > 0)


def epoxy_with_bright_edge(random: np.random.Generator) -> np.ndarray:
    """Epoxy with the thin bright line of phase contrast at its edge."""
    distance = Tube(MIDDLE, 0.0, 0.0).distance(SHAPE)
    level = np.where(distance < 62, 0.3, 0.0) + 0.5 * np.exp(-(((distance - 61) / 1.5) ** 2))
    return np.where(grains(random, SHAPE, distance < 58, 0.3) > 0, 1.0, level)


def foil(random: np.random.Generator) -> np.ndarray:
    """A thin foil around the grains."""
    distance = Tube(MIDDLE, 0.0, 0.0).distance(SHAPE)
    level = np.where((distance >= 60) & (distance < 62), 1.5, 0.0)
    return np.where(grains(random, SHAPE, distance < 58, 0.4) > 0, 1.0, level)


def ring_artefacts(random: np.random.Generator) -> np.ndarray:
    """Thin faint rings about the axis of rotation."""
    distance = Tube(MIDDLE, 0.0, 0.0).distance(SHAPE)
    level = 1.0 * (grains(random, SHAPE, np.ones(SHAPE, bool), 0.3) > 0)
    for radius in random.uniform(20, 70, 8):
        level += random.normal(0, 0.12) * (np.abs(distance - radius) < 1.5)
    return level


def bubble(random: np.random.Generator) -> np.ndarray:
    """A round hole through epoxy that holds grains; grains touch its edge."""
    distance = Tube(MIDDLE, 0.0, 0.0).distance(SHAPE)
    level = np.where(distance < 45, 0.0, 0.5)
    return np.where(grains(random, SHAPE, distance > 44, 0.25) > 0, 1.0, level)


def ring_of_grains(random: np.random.Generator) -> np.ndarray:
    """Columns of grains that touch, side by side in a ring, with others in it."""
    distance = Tube(MIDDLE, 0.0, 0.0).distance(SHAPE)
    level = 1.0 * (grains(random, SHAPE, distance < 40, 0.3) > 0)
    y, x = np.ogrid[: SHAPE[1], : SHAPE[2]]
    for angle in np.linspace(0, 2 * np.pi, 28, endpoint=False):
        off_y, off_x = y - MIDDLE[0] - 55 * np.sin(angle), x - MIDDLE[1] - 55 * np.cos(angle)
        level[:, np.hypot(off_y, off_x) < 6.3] = 1.0
    return level


def empty_tube(random: np.random.Generator) -> np.ndarray:
    """A round hole through a block of something, with nothing in it."""
    return np.where(Tube(MIDDLE, 0.0, 0.0).distance(SHAPE) < 45, 0.0, 1.0)


def nothing(random: np.random.Generator) -> np.ndarray:
    return np.zeros(SHAPE)


NO_TUBES = [
    packing,
    round_packing,
    round_particle,
    hollow_particle,
    epoxy,
    cupped_epoxy,
    epoxy_with_bright_edge,
    foil,
    ring_artefacts,
    bubble,
    ring_of_grains,
    empty_tube,
    nothing,
]


@pytest.mark.parametrize("make", NO_TUBES, ids=lambda make: make.__name__)
@pytest.mark.parametrize("noise", [0.02, 0.12])
def test_what_is_no_tube_is_not_taken_for_one(
    make: Callable[[np.random.Generator], np.ndarray], noise: float
) -> None:
    random = np.random.default_rng(11)
    assert found_in(pictured(random, make(random), noise)) is None


@pytest.mark.parametrize("value", [0, 7], ids=["empty", "even"])
def test_a_scan_of_one_grey_value_has_no_tube(value: int) -> None:
    assert found_in(np.full((3, 40, 50), value, np.uint16)) is None


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 2, 300), (40, 3, 3)])
def test_a_tiny_scan_has_no_tube(shape: Shape) -> None:
    grey = np.random.default_rng(0).integers(0, 1000, shape).astype(np.uint16)
    assert found_in(grey, 3.0) is None


def test_a_tube_that_ends_below_the_top_of_the_scan_is_not_certain() -> None:
    shape = (40, 150, 160)
    grey, _ = tube_scan(np.random.default_rng(7), shape, Tube(MIDDLE, 45.0, 14.0), 0.1, 0.0)
    assert found_in(grey) is not None
    grey[30:] = 15000
    assert found_in(grey) is None


def test_it_can_be_cancelled() -> None:
    cancel = CancelToken()
    cancel.cancel()
    with pytest.raises(Cancelled):
        find_tube(GreyArray(np.zeros((3, 40, 40), np.uint16)), 5.0, Progress(), cancel)


class Counted(GreyArray):
    """Remembers the most voxels that were read at once, and all of them."""

    most = 0
    total = 0

    def read(self, box: Box) -> np.ndarray:
        Counted.most = max(Counted.most, box.size)
        Counted.total += box.size
        return super().read(box)


def test_few_voxels_are_read_and_few_at_once() -> None:
    shape = (400, 200, 200)
    grey = np.broadcast_to(np.random.default_rng(8).integers(0, 9, shape[1:]), shape)
    find_tube(Counted(grey), DIAMETER, Progress(), CancelToken())
    assert 0 < Counted.most <= 5 * 64 * 200
    assert Counted.total <= 5 * 200 * 200


def test_the_thick_tube_of_the_accuracy_cases() -> None:
    case = cases.thick_tube((20, 160, 160))
    found = found_in(case.grey, case.diameter_voxels)
    assert found is not None
    assert abs(found.inner.start - 0.72 * 80) < 1
    assert lost(found, case.labels) == 0


# Scenes that show enough of the tube.
@pytest.mark.parametrize("seed", [1002, 1011, 1013, 1014])
def test_simulated_sand_in_tubes_keeps_its_particles(seed: int) -> None:
    scan = simulate_scan("sand_tube", seed, (24, 160, 160))
    found = found_in(scan.grey, scan.diameter_voxels)
    assert found is not None
    assert lost(found, scan.labels) == 0


def test_the_tube_of_a_real_scan_of_sand() -> None:
    folder = data_folder() / "sand_in_tube_16bit"
    if not folder.exists():
        pytest.skip("the real scans are not beside the repository")
    sand = np.stack([tifffile.imread(path) for path in sorted(folder.glob("*.tif*"))])
    found = found_in(sand, 224 / 13.15)
    assert found is not None
    # By eye: 135 to 136 voxels about (517, 174.5), the wall cut off at the sides.
    assert abs(found.axis_y.at(5) - 517) < 1.5
    assert abs(found.axis_x.at(5) - 174.5) < 1.5
    assert abs(found.inner.at(5) - 135.7) < 1.5


def test_no_tube_in_a_real_scan_of_soil() -> None:
    folder = data_folder() / "soil_8bit"
    if not folder.exists():
        pytest.skip("the real scans are not beside the repository")
    paths = sorted(folder.iterdir())[40:45]
    assert found_in(np.stack([tifffile.imread(path) for path in paths]), 13.0) is None

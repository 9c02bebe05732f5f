"""Block by block on disk against the plain whole-volume algorithm."""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from particleseg_app.errors import Cancelled
from particleseg_app.progress import CancelToken, Progress
from particleseg_app.segmentation.border_core import border_core_to_particles
from particleseg_app.segmentation.particles_from_classes import particles_from_classes
from particleseg_app.units import Box, Shape
from particleseg_app.volumes.labels import open_labels
from tests.segmentation.class_volumes import Classes, blob_classes, separate_balls, snake_classes


def convert(
    classes: np.ndarray,
    block_shape: Shape,
    folder: Path,
    min_relative_volume: float = 0.0,
    small_core_filter: bool = True,
    scan_shape: Shape | None = None,
    scale_factor: float = 1.0,
) -> np.ndarray:
    volume = Classes(classes)
    count = particles_from_classes(
        volume,
        scan_shape or volume.shape,
        scale_factor,
        folder / "work",
        folder / "labels.h5",
        min_relative_volume,
        Progress(),
        CancelToken(),
        block_shape=block_shape,
        small_core_filter=small_core_filter,
    )
    assert not (folder / "work").exists(), "pieces are removed"
    with open_labels(folder / "labels.h5") as labels:
        array = labels.read(Box.whole(labels.shape))
        assert labels.count == count == array.max(initial=0)
    return array


def expected(
    classes: np.ndarray, scan_shape: Shape, min_relative_volume: float, small_core_filter: bool
) -> np.ndarray:
    """The definition on the whole volume."""
    particles = border_core_to_particles(classes, small_core_filter)
    nearest = [
        np.minimum(working - 1, np.floor((np.arange(scan) + 0.5) * working / scan).astype(int))
        for working, scan in zip(classes.shape, scan_shape, strict=True)
    ]
    labels = particles[np.ix_(*nearest)]
    volumes = np.bincount(labels.ravel())
    volumes[0] = 0
    if volumes.any():
        volumes[volumes < min_relative_volume * volumes[volumes > 0].mean()] = 0
    numbers = np.where(volumes > 0, np.cumsum(volumes > 0), 0)
    return numbers[labels]


sides = st.integers(1, 16)


@st.composite
def random_classes(draw: st.DrawFn, shape: Shape) -> np.ndarray:
    return blob_classes(
        shape,
        draw(st.integers(0, 2**32 - 1)),
        draw(st.sampled_from([0, 0.6, 1.0, 2.0])),
        draw(st.sampled_from([0.1, 0.4, 0.8, 1.0])),
        draw(st.sampled_from([0.0, 0.05, 0.3, 0.6, 1.0])),
    )


@st.composite
def random_blocks(draw: st.DrawFn, shape: Shape) -> Shape:
    """At most three blocks along an axis, or slices one voxel thick along one: files stay few."""
    thin = draw(st.sampled_from([None, None, 0, 1, 2]))
    if thin is None:
        z, y, x = (draw(st.integers(max(1, -(-n // 3)), n)) for n in shape)
    else:
        z, y, x = (1 if axis == thin else n for axis, n in enumerate(shape))
    return z, y, x


@settings(max_examples=40, deadline=None)
@given(st.data(), st.tuples(sides, sides, sides), st.booleans())
def test_any_blocks_give_the_particles_of_the_whole_volume(
    data: st.DataObject, shape: Shape, small_core_filter: bool
) -> None:
    classes = data.draw(random_classes(shape))
    block_shape = data.draw(random_blocks(shape))
    with tempfile.TemporaryDirectory() as folder:
        found = convert(classes, block_shape, Path(folder), small_core_filter=small_core_filter)
    np.testing.assert_array_equal(found, border_core_to_particles(classes, small_core_filter))


@settings(max_examples=20, deadline=None)
@given(
    st.data(),
    st.tuples(sides, sides, sides),
    st.sampled_from([0.35, 0.5, 0.77, 1.3, 2.0]),
    st.sampled_from([0.0, 0.3, 0.9]),
)
def test_labels_come_back_to_the_scan_without_the_smallest(
    data: st.DataObject, scan_shape: Shape, factor: float, min_relative_volume: float
) -> None:
    z, y, x = (max(1, round(n * factor)) for n in scan_shape)
    classes = data.draw(random_classes((z, y, x)))
    block_shape = data.draw(random_blocks((z, y, x)))
    with tempfile.TemporaryDirectory() as folder:
        found = convert(
            classes,
            block_shape,
            Path(folder),
            min_relative_volume,
            scan_shape=scan_shape,
            scale_factor=factor,
        )
    np.testing.assert_array_equal(
        found, expected(classes, scan_shape, min_relative_volume, small_core_filter=True)
    )


@pytest.mark.parametrize("block_shape", [(1, 13, 3), (1, 5, 20), (1, 4, 7)])
@pytest.mark.parametrize("rows", [7, 31])
def test_a_winding_border_crosses_blocks_many_times(
    rows: int, block_shape: Shape, tmp_path: Path
) -> None:
    classes = snake_classes(rows, length=20)
    # The longer one takes more than 255 layers from each end, and wider blocks, for few files.
    block_shape = (1, block_shape[1] * rows // 7, block_shape[2])
    found = convert(classes, block_shape, tmp_path, small_core_filter=False)
    np.testing.assert_array_equal(found, border_core_to_particles(classes, False))
    sizes = np.bincount(found.ravel())[1:]
    assert sizes.size == 2 and abs(int(sizes[0]) - int(sizes[1])) <= 1


@pytest.mark.parametrize("far", [(1, 0, 0), (0, 1, 1), (1, 0, 1), (1, 1, 1)])
@pytest.mark.parametrize("core_first", [True, False])
def test_growth_crosses_faces_edges_and_corners(
    far: Shape, core_first: bool, tmp_path: Path
) -> None:
    # Two voxels that touch only where their blocks do; the rest of the volume is empty.
    classes = np.zeros((4, 4, 4), np.uint8)
    z, y, x = (1 + step for step in far)
    classes[1, 1, 1], classes[z, y, x] = (1, 2) if core_first else (2, 1)
    found = convert(classes, (2, 2, 2), tmp_path, small_core_filter=False)
    np.testing.assert_array_equal(found, classes > 0)


def test_the_small_core_filter_looks_beyond_its_block(tmp_path: Path) -> None:
    # Voxel (0, 0) of the left core is 2 from the outside, all others 1: the core goes, the right
    # one takes its place. Within one voxel of itself (0, 0) sees nothing but core.
    classes = np.full((1, 3, 34), 2, np.uint8)
    classes[0, 0, :2] = 1
    classes[0, 1, :22] = 1
    classes[0, :, 26:] = 1
    found = convert(classes, (1, 1, 1), tmp_path)
    assert (found == 1).all()
    classes[0, :, :3] = 1  # now it is 3 from the outside, and the core stays
    found = convert(classes, (1, 3, 2), tmp_path)
    assert found.max() == 2
    np.testing.assert_array_equal(found, border_core_to_particles(classes))


def test_a_particle_larger_than_its_blocks(tmp_path: Path) -> None:
    labels = separate_balls((40, 40, 70), [((20, 20, 20), 18), ((20, 20, 50), 16)])
    classes = np.where(labels > 0, 2, 0).astype(np.uint8)
    classes[separate_balls((40, 40, 70), [((20, 20, 20), 13), ((20, 20, 50), 11)]) > 0] = 1
    found = convert(classes, (16, 16, 16), tmp_path)
    assert found.max() == 2
    np.testing.assert_array_equal(found, border_core_to_particles(classes))


@pytest.mark.parametrize("block_shape", [(50, 82, 82), (82, 82, 82)])
def test_more_particles_than_fit_16_bits(block_shape: Shape, tmp_path: Path) -> None:
    classes = np.zeros((82, 82, 82), np.uint8)
    classes[::2, ::2, ::2] = 1
    found = convert(classes, block_shape, tmp_path, small_core_filter=False)
    assert found.max() == 41**3 > 65_535
    np.testing.assert_array_equal(found[classes > 0], np.arange(1, 41**3 + 1))


def test_a_border_as_wide_as_many_layers_crosses_many_blocks(tmp_path: Path) -> None:
    # One core at each end of a rod: blocks between them are bettered again and again.
    classes = np.full((3, 3, 400), 2, np.uint8)
    classes[:, :, :3] = classes[:, :, -5:] = 1
    found = convert(classes, (3, 3, 20), tmp_path, small_core_filter=False)
    np.testing.assert_array_equal(found, border_core_to_particles(classes, False))
    assert found.max() == 2 and (found[1, 1] == 1).sum() in range(195, 206)


class StageCounter(Progress):
    """How many blocks each stage worked on."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks: Counter[str] = Counter()

    def start(self, stage: str, total: int = 0, unit: str = "", done: int = 0) -> None:
        self.blocks[stage] += total
        super().start(stage, total, unit, done)


@pytest.mark.parametrize("border", [5, 6, 7])
def test_blocks_ask_each_other_only_where_a_border_is_wider_than_the_margin(
    border: int, tmp_path: Path
) -> None:
    # One slab of core on either side of the face between two blocks, far from it by the border.
    classes = np.zeros((8, 8, 40), np.uint8)
    classes[:, :, 20 - border : 24] = 2
    classes[:, :, 15 - border : 20 - border] = 1
    counter = StageCounter()
    particles_from_classes(
        Classes(classes), (8, 8, 40), 1.0, tmp_path / "work", tmp_path / "labels.h5", 0.0,
        counter, CancelToken(), block_shape=(8, 8, 20),
    )  # fmt: skip
    np.testing.assert_array_equal(read_labels(tmp_path / "labels.h5"), classes > 0)
    assert counter.blocks["Growing particles"] == 2
    # The farther block's voxels at the face are one layer more than the border from the core.
    assert (counter.blocks["Growing particles across blocks"] > 0) == (border + 1 > 6)


def test_no_particles(tmp_path: Path) -> None:
    assert not convert(np.zeros((5, 6, 7), np.uint8), (4, 4, 4), tmp_path).any()


def test_a_scale_that_does_not_fit_is_a_bug(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="scaled by"):
        convert(np.zeros((9, 9, 9), np.uint8), (9, 9, 9), tmp_path, scale_factor=2.0)


class CancelAtCheck(CancelToken):
    """Cancels itself when it is asked for the n-th time: any place where work can stop."""

    def __init__(self, checks: int) -> None:
        super().__init__()
        self.left = checks

    def check(self) -> None:
        self.left -= 1
        if self.left <= 0:
            self.cancel()
        super().check()


def run(volume: Classes, folder: Path, cancel: CancelToken, min_relative: float = 0.1) -> None:
    particles_from_classes(
        volume,
        (20, 17, 11),
        1.2,
        folder / "work",
        folder / "labels.h5",
        min_relative,
        Progress(),
        cancel,
        block_shape=(12, 20, 13),
    )


def resume_volume() -> Classes:
    classes = blob_classes((24, 20, 13), 5, 1.0, 0.6, 0.35)
    classes[20:, :8, :5] = 0
    classes[22:, 2:6, 1:4] = 2  # a particle without a core
    return Classes(classes)


def read_labels(path: Path) -> np.ndarray:
    with open_labels(path) as labels:
        return labels.read(Box.whole(labels.shape))


def test_cancelled_anywhere_and_resumed_gives_the_same(tmp_path: Path) -> None:
    volume = resume_volume()
    whole = expected(volume.array, (20, 17, 11), 0.1, small_core_filter=True)
    stopped = 0
    for checks in range(1, 200):
        folder = tmp_path / str(checks)
        folder.mkdir()
        try:
            run(volume, folder, CancelAtCheck(checks))
            break
        except Cancelled:
            stopped += 1
            assert not (folder / "labels.h5").exists()
            run(volume, folder, CancelToken())
        np.testing.assert_array_equal(read_labels(folder / "labels.h5"), whole)
    assert stopped > 12, "every step was interrupted once"


def test_what_is_finished_is_not_done_again(tmp_path: Path) -> None:
    volume = resume_volume()
    attempts = 0
    while True:
        attempts += 1
        assert attempts < 100
        try:
            run(volume, tmp_path, CancelAtCheck(9))
            break
        except Cancelled:
            pass
    assert attempts > 2
    whole = expected(volume.array, (20, 17, 11), 0.1, small_core_filter=True)
    np.testing.assert_array_equal(read_labels(tmp_path / "labels.h5"), whole)


def test_finished_cores_are_not_read_again(tmp_path: Path) -> None:
    volume = resume_volume()
    with pytest.raises(Cancelled):
        run(volume, tmp_path, CancelAtCheck(13))
    reads = volume.reads
    assert reads == 2
    run(volume, tmp_path, CancelToken())
    assert volume.reads == reads


def test_other_settings_begin_anew(tmp_path: Path) -> None:
    volume = resume_volume()
    with pytest.raises(Cancelled):
        run(volume, tmp_path, CancelAtCheck(13), min_relative=0.1)
    run(volume, tmp_path, CancelToken(), min_relative=0.0)
    np.testing.assert_array_equal(
        read_labels(tmp_path / "labels.h5"),
        expected(volume.array, (20, 17, 11), 0.0, small_core_filter=True),
    )


def test_a_voxel_that_another_core_reached_first_still_goes_to_the_smaller_key(
    tmp_path: Path,
) -> None:
    # Core 1 begins at the top and comes round below; its lowest voxels are asked last, when core 2,
    # with the larger key, has taken the border voxel between them already.
    classes = np.zeros((1, 5, 5), np.uint8)
    classes[0, :, 4] = 1
    classes[0, 4, 2:] = 1
    classes[0, 2, :2] = 1
    classes[0, 3, 2] = 2
    found = convert(classes, (1, 5, 5), tmp_path, small_core_filter=False)
    assert found[0, 3, 2] == found[0, 0, 4] == 1
    np.testing.assert_array_equal(found, border_core_to_particles(classes, False))

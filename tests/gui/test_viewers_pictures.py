"""Colours of particles, pictures made from raw slices, and the reading in the background."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from viewer_samples import MemoryLabels, MemoryScan

from particleseg_app.gui.viewers.label_colours import (
    PALETTE_SIZE,
    SELECTED_EDGE,
    colour_of,
    colours_of,
    edge_mask,
    overlay_indices,
    overlay_table,
    palette,
)
from particleseg_app.gui.viewers.slice_geometry import length_text, round_length
from particleseg_app.gui.viewers.slice_picture import (
    SlicePicture,
    SliceRequest,
    block_means,
    make_picture,
    windowed,
)
from particleseg_app.gui.viewers.slice_reader import SliceReader

label_slices = hnp.arrays(
    np.uint32, st.tuples(st.integers(1, 24), st.integers(1, 24)), elements=st.integers(0, 3)
)


def test_neighbouring_numbers_have_colours_far_apart() -> None:
    colours = palette().astype(float)
    for apart in (1, 2, 3, 4):
        distance = np.linalg.norm(colours - np.roll(colours, apart, axis=0), axis=1)
        assert distance.min() > 25, apart


def test_no_colour_is_dark_or_used_twice() -> None:
    colours = palette().astype(float)
    brightness = colours @ [0.299, 0.587, 0.114]
    assert brightness.min() > 85
    assert len(np.unique(palette(), axis=0)) == PALETTE_SIZE


@given(st.integers(1, 2**32 - 1))
def test_a_colour_is_the_same_alone_and_in_an_array(label: int) -> None:
    array = np.array([[0, label]], np.uint32)
    assert tuple(colours_of(array)[0, 1].tolist()) == colour_of(label)
    assert colour_of(label) != (0, 0, 0)
    assert tuple(colours_of(array)[0, 0].tolist()) == (0, 0, 0)


@given(label_slices)
def test_overlay_marks_the_rim_inside_each_particle(labels: np.ndarray) -> None:
    indices = overlay_indices(labels)
    np.testing.assert_array_equal(indices == 0, labels == 0)
    rim = indices > PALETTE_SIZE
    np.testing.assert_array_equal(rim, edge_mask(labels) & (labels != 0))


@given(label_slices)
def test_selected_particle_is_outlined(labels: np.ndarray) -> None:
    indices = overlay_indices(labels, selected=2)
    rim = edge_mask(labels == 2) & (labels == 2)
    assert (indices[rim] == SELECTED_EDGE).all()
    if not (labels == 2).any():
        np.testing.assert_array_equal(indices, overlay_indices(labels))


def test_opacity_of_fill_and_contours() -> None:
    clear, half = overlay_table(0.0, False), overlay_table(0.5, False)
    assert not clear[: 1 + 2 * PALETTE_SIZE, 3].any()
    assert (half[1 : 1 + PALETTE_SIZE, 3] == 128).all()
    assert (half[1 + PALETTE_SIZE : 1 + 2 * PALETTE_SIZE, 3] > 128).all()
    contours = overlay_table(0.5, True)
    assert not contours[: 1 + PALETTE_SIZE, 3].any()
    assert contours[1 + PALETTE_SIZE : 1 + 2 * PALETTE_SIZE, 3].all()


@given(
    hnp.arrays(
        st.sampled_from([np.dtype(np.uint8), np.dtype(np.int16), np.dtype(np.float32)]),
        (5, 7),
        elements=st.integers(0, 100),
    ),
    st.integers(0, 50),
    st.integers(1, 100),
)
def test_window_maps_low_to_black_and_high_to_white(grey: np.ndarray, low: int, width: int) -> None:
    shown = windowed(grey, low, low + width)
    assert shown.dtype == np.uint8
    assert (shown[grey <= low] == 0).all()
    assert (shown[grey >= low + width] == 255).all()
    expected = 255 * (grey.astype(float) - low) / width
    inside = (grey >= low) & (grey <= low + width)
    assert np.abs(shown[inside] - expected[inside]).max(initial=0) <= 1


def test_not_a_number_is_black() -> None:
    shown = windowed(np.array([[np.nan, np.inf, -np.inf, 1.0]], np.float32), 0.0, 2.0)
    assert shown.tolist() == [[0, 255, 0, 128]]


@given(st.integers(1, 30), st.integers(1, 30), st.integers(1, 5))
def test_block_means_keep_the_mean_of_even_blocks(rows: int, columns: int, step: int) -> None:
    grey = np.arange(rows * columns, dtype=np.uint16).reshape(rows, columns)
    means = block_means(grey, step)
    assert means.shape == (-(-rows // step), -(-columns // step))
    if rows % step == 0 and columns % step == 0:
        assert means.mean() == pytest.approx(grey.mean())


@settings(max_examples=40)
@given(
    st.integers(1, 20),
    st.integers(1, 20),
    st.integers(1, 4),
    st.integers(1, 4),
    st.booleans(),
    st.data(),
)
def test_a_picture_covers_its_region(
    rows: int, columns: int, step: int, zoom: int, transposed: bool, data: st.DataObject
) -> None:
    top, bottom = sorted(data.draw(st.tuples(st.integers(-3, 25), st.integers(-3, 25))))
    left, right = sorted(data.draw(st.tuples(st.integers(-3, 25), st.integers(-3, 25))))
    grey = np.arange(rows * columns, dtype=np.uint16).reshape(rows, columns)
    request = SliceRequest(
        0, 0, (top, bottom, left, right), step, 1 if zoom > 1 else step, zoom,
        transposed=transposed,
    )  # fmt: skip
    picture = make_picture(request, grey, grey.astype(np.uint32))
    first, end, left, right = picture.region
    assert 0 <= first < end <= rows and 0 <= left < right <= columns
    height, width = end - first, right - left
    for extent in (picture.grey_extent, picture.overlay_extent):
        assert height <= extent[0] < height + step and width <= extent[1] < width + step
    assert picture.overlay is not None
    shape = picture.overlay.shape[::-1] if transposed else picture.overlay.shape
    assert shape[0] >= height * zoom // step


def test_round_lengths() -> None:
    assert [round_length(v) for v in (0.7, 1, 1.99, 2, 4.9, 5, 99, 100, 1234)] == (
        [0.5, 1, 1, 2, 2, 5, 50, 100, 1000]
    )
    assert length_text(500, 10.0) == "500 µm"
    assert length_text(2000, 10.0) == "2 mm"
    assert length_text(20, None) == "20 voxels"


class Collector:
    """Takes what a reader delivers, and waits for it."""

    def __init__(self) -> None:
        self.pictures: list[SlicePicture] = []
        self.failures: list[tuple[int, int, str]] = []
        self._changed = threading.Condition()

    def deliver(self, picture: SlicePicture) -> None:
        with self._changed:
            self.pictures.append(picture)
            self._changed.notify_all()

    def fail(self, axis: int, index: int, reason: str) -> None:
        self.failures.append((axis, index, reason))

    def wait_for(self, axis: int, index: int) -> SlicePicture:
        def found() -> SlicePicture | None:
            return next((p for p in self.pictures if (p.axis, p.index) == (axis, index)), None)

        with self._changed:
            assert self._changed.wait_for(lambda: found() is not None, timeout=10)
            picture = found()
            assert picture is not None
            return picture


@pytest.fixture
def collector() -> Collector:
    return Collector()


@pytest.fixture
def reader(collector: Collector) -> Iterator[SliceReader]:
    made = SliceReader(collector.deliver, collector.fail)
    yield made
    made.stop()
    assert not made.running


def counted(shape: tuple[int, int, int]) -> MemoryScan:
    return MemoryScan((np.arange(np.prod(shape)) % 60000).reshape(shape).astype(np.uint16))


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_slices_of_every_axis_are_right(
    reader: SliceReader, collector: Collector, axis: int
) -> None:
    scan = counted((70, 66, 80))
    labels = MemoryLabels(scan.values // 100)
    reader.set_volumes(scan, labels)
    for index in (0, 63, 64, 65, scan.shape[axis] - 1):
        reader.request(SliceRequest(axis, index))
        picture = collector.wait_for(axis, index)
        np.testing.assert_array_equal(picture.grey, scan.values.take(index, axis))
        assert picture.labels is not None
        np.testing.assert_array_equal(picture.labels, labels.values.take(index, axis))


def test_only_the_latest_request_of_an_axis_is_answered(collector: Collector) -> None:
    gate = threading.Event()

    class Gated(MemoryScan):
        def read(self, box):  # type: ignore[no-untyped-def]
            gate.wait(10)
            return super().read(box)

    scan = Gated(counted((200, 8, 8)).values)
    reader = SliceReader(collector.deliver, collector.fail)
    try:
        reader.set_volumes(scan, None)
        for index in (0, 70, 100, 130, 190):
            reader.request(SliceRequest(0, index))
        gate.set()
        collector.wait_for(0, 190)
        assert {p.index for p in collector.pictures} <= {0, 190}
    finally:
        gate.set()
        reader.stop()


def test_scrolling_finds_the_next_slices_already_read(
    reader: SliceReader, collector: Collector
) -> None:
    scan = counted((64, 32, 32))
    boxes: list[int] = []
    original = scan.read
    scan.read = lambda box: (boxes.append(box.shape[0]), original(box))[1]  # type: ignore[method-assign]
    reader.set_volumes(scan, None)
    for index in range(20, 50):
        reader.request(SliceRequest(0, index))
        collector.wait_for(0, index)
    assert len(boxes) <= 8  # thirty slices, several a reading


def test_the_cache_stays_within_its_limit(collector: Collector) -> None:
    scan = counted((60, 64, 64))
    reader = SliceReader(collector.deliver, collector.fail, cache_bytes=20 * 64 * 64 * 2)
    try:
        reader.set_volumes(scan, None)
        for index in range(0, 60, 3):
            reader.request(SliceRequest(0, index))
            collector.wait_for(0, index)
        assert reader._cached_bytes <= 20 * 64 * 64 * 2
        assert reader._cached_bytes == sum(g.nbytes for g, _ in reader._cache.values())
    finally:
        reader.stop()


def test_nothing_of_an_old_scan_is_shown(reader: SliceReader, collector: Collector) -> None:
    first, second = counted((30, 16, 16)), MemoryScan(np.zeros((30, 16, 16), np.uint16))
    reader.set_volumes(first, None)
    reader.request(SliceRequest(0, 3))
    collector.wait_for(0, 3)
    reader.set_volumes(second, None)
    collector.pictures.clear()
    reader.request(SliceRequest(0, 3))
    assert not collector.wait_for(0, 3).grey.any()


def test_volumes_without_boxes_can_be_read(reader: SliceReader, collector: Collector) -> None:
    class SlicesOnly:
        shape = (20, 9, 8)
        dtype = np.dtype(np.uint8)

        def read_slice(self, axis: int, index: int) -> np.ndarray:
            return np.full([n for a, n in enumerate(self.shape) if a != axis], index, np.uint8)

    reader.set_volumes(SlicesOnly(), None)
    for index in (5, 6, 7):
        reader.request(SliceRequest(1, index))
        assert (collector.wait_for(1, index).grey == index).all()

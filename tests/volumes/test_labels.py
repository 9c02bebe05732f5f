"""Label volumes: written box by box, read like a scan, whole or not there."""

from __future__ import annotations

import tempfile
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from particleseg_app.errors import ScanError
from particleseg_app.units import Box, blocks
from particleseg_app.volumes import LabelWriter, open_labels, read_label_file


def _labels(shape: tuple[int, int, int], seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 70_000, [n // 8 + 1 for n in shape], dtype=np.uint32)
    fine = coarse.repeat(8, 0).repeat(8, 1).repeat(8, 2)
    return np.ascontiguousarray(fine[: shape[0], : shape[1], : shape[2]])


@settings(max_examples=25, deadline=None)
@given(
    shape=st.tuples(*[st.integers(1, 140)] * 3),
    block=st.tuples(*[st.sampled_from((64, 128, 50, 70))] * 3),
)
def test_boxes_of_any_size_make_the_whole(
    shape: tuple[int, int, int], block: tuple[int, int, int]
) -> None:
    labels = _labels(shape)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "labels.h5"
        with LabelWriter(path, shape, count=70_000) as writer:
            for box in blocks(shape, block):
                writer.write(box, labels[box.slices])
        with open_labels(path) as volume:
            assert volume.count == 70_000
            assert volume.dtype == np.uint32
            np.testing.assert_array_equal(volume.read(Box.whole(shape)), labels)
        np.testing.assert_array_equal(read_label_file(path), labels)


def test_later_writes_win_and_the_rest_is_background(tmp_path: Path) -> None:
    shape = (70, 80, 90)
    expected = np.zeros(shape, np.uint32)
    with LabelWriter(tmp_path / "l.h5", shape) as writer:
        for number, box in enumerate(
            (
                Box((0, 0, 0), (64, 64, 64)),
                Box((10, 10, 10), (30, 70, 80)),
                Box((64, 64, 64), shape),
                Box((0, 0, 0), (64, 64, 64)),
                Box((60, 60, 60), shape),
            ),
            start=1,
        ):
            writer.write(box, np.full(box.shape, number, np.int64))
            expected[box.slices] = number
        writer.count = 5
    with open_labels(tmp_path / "l.h5") as volume:
        assert volume.count == 5
        np.testing.assert_array_equal(volume.read(Box.whole(shape)), expected)


def test_a_failure_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), LabelWriter(tmp_path / "l.h5", (64, 64, 64)) as writer:
        writer.write(Box.whole((64, 64, 64)), np.ones((64, 64, 64), np.uint32))
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    full = type("Usage", (), {"free": 1000})
    monkeypatch.setattr("shutil.disk_usage", lambda _folder: full)
    box = Box.whole((8, 8, 8))
    with (
        pytest.raises(ScanError, match="no space left"),
        LabelWriter(tmp_path / "l.h5", (8, 8, 8)) as writer,
    ):
        writer.write(box, np.ones(box.shape, np.uint32))
    assert list(tmp_path.iterdir()) == []


def test_the_cache_holds_every_chunk_of_a_slice(tmp_path: Path) -> None:
    """Scrolling reads each layer of chunks once: the cache must take one whole layer."""
    shape = (64, 640, 640)
    with LabelWriter(tmp_path / "labels.h5", shape, 1) as writer:
        writer.write(Box((0, 0, 0), (64, 64, 64)), np.ones((64, 64, 64), np.uint32))
    with open_labels(tmp_path / "labels.h5") as labels:
        _, cache_bytes, _ = labels._dataset.id.get_access_plist().get_chunk_cache()
    assert cache_bytes >= 64 * 640 * 640 * 4


@pytest.mark.parametrize("count", [-5, 10**13])
def test_an_impossible_number_of_labels_is_told(tmp_path: Path, count: int) -> None:
    with LabelWriter(tmp_path / "labels.h5", (4, 5, 6)) as writer:
        writer.count = 1
    with h5py.File(tmp_path / "labels.h5", "r+") as file:
        file["labels"].attrs["count"] = count
    with pytest.raises(ScanError, match="damaged"):
        open_labels(tmp_path / "labels.h5")

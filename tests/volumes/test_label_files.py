"""Label files of other programs: what is taken, what is refused, and reading them box by box."""

from __future__ import annotations

import tempfile
from pathlib import Path
from unittest.mock import patch

import h5py
import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st

from particleseg_app.errors import ScanError
from particleseg_app.evaluation import evaluate
from particleseg_app.units import Box
from particleseg_app.volumes import open_label_file, read_label_file
from particleseg_app.volumes.slice_reader import SliceReader


def _labels(shape: tuple[int, int, int], seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 70_000, [n // 8 + 1 for n in shape], dtype=np.uint32)
    fine = coarse.repeat(8, 0).repeat(8, 1).repeat(8, 2)
    return np.ascontiguousarray(fine[: shape[0], : shape[1], : shape[2]])


def test_label_files_of_other_programs(tmp_path: Path) -> None:
    labels = _labels((9, 20, 30))
    tifffile.imwrite(tmp_path / "a.tif", labels)
    tifffile.imwrite(tmp_path / "b.tif", (labels % 200).astype(np.uint8), compression="zlib")
    tifffile.imwrite(tmp_path / "c.tif", labels.astype(np.float32))
    with h5py.File(tmp_path / "d.h5", "w") as file:
        file["deep/segmentation"] = labels.astype(np.int64)
    for name, expected in (("a.tif", labels), ("b.tif", labels % 200), ("c.tif", labels),
                           ("d.h5", labels)):  # fmt: skip
        found = read_label_file(tmp_path / name)
        assert found.dtype == np.uint32
        np.testing.assert_array_equal(found, expected)


def test_what_is_no_label_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("1 2 3")
    (tmp_path / "broken.tif").write_bytes(b"II*\0")
    (tmp_path / "broken.h5").write_bytes(b"nothing")
    tifffile.imwrite(tmp_path / "negative.tif", np.full((9, 5, 6), -1, np.int16))
    tifffile.imwrite(tmp_path / "fraction.tif", np.full((9, 5, 6), 0.5, np.float32))
    tifffile.imwrite(tmp_path / "colour.tif", np.zeros((9, 8, 8, 3), np.uint8), photometric="rgb")
    with h5py.File(tmp_path / "two.h5", "w") as file:
        file["a"] = file["b"] = np.zeros((3, 3, 3), np.uint8)
        file["c"] = np.zeros((3, 3, 3), np.uint8)
    for path in [*tmp_path.iterdir(), tmp_path / "missing.tif"]:
        with pytest.raises(ScanError) as caught:
            read_label_file(path)
        assert path.name in str(caught.value)


def _written(folder: Path, kind: str, labels: np.ndarray) -> Path:
    if kind == "hdf5":
        with h5py.File(folder / "labels.h5", "w") as file:
            file.create_dataset("labels", data=labels, chunks=True, compression="gzip")
        return folder / "labels.h5"
    compression = "zlib" if kind == "packed TIFF" else None
    tifffile.imwrite(folder / "labels.tif", labels, compression=compression)
    return folder / "labels.tif"


@settings(max_examples=20, deadline=None)
@given(
    kind=st.sampled_from(("TIFF", "packed TIFF", "hdf5")),
    slices_kept=st.integers(1, 12),
    corners=st.lists(
        st.tuples(*[st.tuples(st.integers(0, n), st.integers(0, n)) for n in (11, 17, 23)]),
        min_size=1,
        max_size=8,
    ),
)
def test_any_boxes_in_any_order_are_those_of_the_file(
    kind: str, slices_kept: int, corners: list[tuple[tuple[int, int], ...]]
) -> None:
    labels = _labels((11, 17, 23))
    with (
        tempfile.TemporaryDirectory() as folder,
        patch("particleseg_app.volumes.label_files._SLAB_BYTES", slices_kept * 17 * 23 * 4),
        open_label_file(_written(Path(folder), kind, labels)) as opened,
    ):
        assert opened.shape == labels.shape
        for corner in corners:
            start, stop = zip(*(sorted(pair) for pair in corner), strict=True)
            box = Box(start, stop)
            np.testing.assert_array_equal(opened.read(box), labels[box.slices])


def test_two_tiff_files_are_compared_with_each_slice_decoded_once_and_few_kept(
    tmp_path: Path,
) -> None:
    labels = _labels((40, 300, 300))
    labels[labels % 3 == 0] = 0
    tifffile.imwrite(tmp_path / "right.tif", labels, compression="zlib")
    tifffile.imwrite(tmp_path / "found.tif", np.roll(labels, 1, 0), compression="zlib")
    decoded = []
    read = SliceReader.read

    def counting(self: SliceReader, index: int) -> np.ndarray:
        decoded.append(index)
        return read(self, index)

    slab = 7 * 300 * 300 * 4
    with (
        patch.object(SliceReader, "read", counting),
        patch("particleseg_app.volumes.label_files._SLAB_BYTES", slab),
        open_label_file(tmp_path / "right.tif") as right,
        open_label_file(tmp_path / "found.tif") as found,
    ):
        assert right.slab_depth == 7
        score = evaluate(right, found)
    assert score == evaluate(labels, np.roll(labels, 1, 0))
    assert sorted(decoded) == sorted([*range(40)] * 2)

"""What is imported is what the files hold, whatever the form of the files."""

from __future__ import annotations

import math
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st

from particleseg_app.progress import CancelToken, Progress
from particleseg_app.units import Box
from particleseg_app.volumes import import_scan, inspect_source, open_scan
from particleseg_app.volumes import scan_import as scan_import_module
from tests.volumes.sources import grey_values, imported, write_slices

DTYPES = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "float32")


@st.composite
def _box(draw: st.DrawFn, shape: tuple[int, int, int]) -> Box:
    start, stop = [], []
    for length in shape:
        a, b = sorted((draw(st.integers(0, length)), draw(st.integers(0, length))))
        start.append(a)
        stop.append(b)
    return Box(tuple(start), tuple(stop))  # type: ignore[arg-type]


@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_every_box_reads_as_it_was_in_the_files(data: st.DataObject) -> None:
    shape = (
        data.draw(st.integers(8, 70), "depth"),
        data.draw(st.integers(1, 100), "height"),
        data.draw(st.integers(1, 100), "width"),
    )
    dtype = data.draw(st.sampled_from(DTYPES))
    order = data.draw(st.sampled_from("<>"))
    compression = data.draw(st.sampled_from((None, "zlib", "lzw", "packbits", "zstd", "lzma")))
    form = data.draw(st.sampled_from(("folder", "stack", "bigtiff", "strips", "tiles")))
    volume = grey_values(shape, dtype)
    if data.draw(st.booleans(), "mostly empty"):
        volume[:, shape[1] // 3 :] = 7
    predictor = compression in ("zlib", "lzw") and data.draw(st.booleans(), "predictor")
    options: dict[str, Any] = {
        "byteorder": order,
        "compression": compression,
        "predictor": predictor,
    }
    if form == "strips":
        options["rowsperstrip"] = 7
    if form == "tiles":
        options["tile"] = (16, 32)
    with tempfile.TemporaryDirectory() as temporary:
        place = Path(temporary)
        if form == "folder":
            source = write_slices(place / "slices", volume, photometric="minisblack", **options)
        else:
            source = place / "stack.tif"
            with tifffile.TiffWriter(
                source, bigtiff=form == "bigtiff", byteorder=options.pop("byteorder")
            ) as writer:
                for values in volume:
                    writer.write(values, photometric="minisblack", contiguous=False, **options)
        with imported(source, place / "scan.h5") as scan:
            assert scan.shape == shape
            assert scan.dtype == np.dtype(dtype)
            assert scan.dtype.isnative
            np.testing.assert_array_equal(scan.read(Box.whole(shape)), volume)
            box = data.draw(_box(shape))
            np.testing.assert_array_equal(scan.read(box), volume[box.slices])
            axis = data.draw(st.integers(0, 2))
            index = data.draw(st.integers(0, shape[axis] - 1))
            np.testing.assert_array_equal(scan.read_slice(axis, index), volume.take(index, axis))
            view = scan.field_of_view
            if view is not None:  # what is empty in all slices
                assert (volume[:, view.outside] == view.filled).all()
                volume = volume[:, ~view.outside]
            _check_statistics(scan.statistics, volume, view is None)


def _check_statistics(statistics, volume: np.ndarray, whole: bool) -> None:  # type: ignore[no-untyped-def]
    values = volume.astype(np.float64)
    assert statistics.voxel_count == volume.size
    # Where the lowest or highest grey value was left out, the next one is known to a bin.
    bins = 0 if whole else np.diff(statistics.histogram_edges).max()
    assert abs(statistics.minimum - values.min()) <= bins / 2
    assert abs(statistics.maximum - values.max()) <= bins / 2
    assert statistics.mean == pytest.approx(values.mean(), rel=1e-6, abs=1e-6)
    assert statistics.std == pytest.approx(values.std(), rel=1e-5, abs=1e-6)
    assert len(statistics.histogram_edges) == len(statistics.histogram_counts) + 1
    assert np.all(np.diff(statistics.histogram_edges) > 0)
    assert statistics.histogram_edges[0] <= values.min()
    assert statistics.histogram_edges[-1] >= values.max()
    for percent in (1, 50, 99):
        found = statistics.percentile(percent)
        width = float(np.diff(statistics.histogram_edges).max())
        assert np.mean(values < found - width) <= percent / 100
        assert np.mean(values <= found + width) >= percent / 100


def test_slices_are_sorted_as_people_count(tmp_path: Path) -> None:
    volume = np.stack([np.full((5, 6), index, np.uint8) for index in range(1, 13)])
    for index in range(12):
        tifffile.imwrite(tmp_path / f"scan {index + 1}.TIFF", volume[index])
    with imported(tmp_path, tmp_path / "out" / "scan.h5") as scan:
        assert scan.read(Box.whole(scan.shape))[:, 0, 0].tolist() == list(range(1, 13))


def test_files_of_the_scanner_are_ignored(tmp_path: Path) -> None:
    volume = grey_values((9, 20, 30), "uint16")
    folder = write_slices(tmp_path / "rec", volume)
    for name in ("Thumbs.db", "scan.log", "settings.txt", ".DS_Store", "._slice_0001.tif"):
        (folder / name).write_bytes(b"no image")
    (folder / "old.tif").mkdir()
    source = inspect_source(folder)
    assert source.name == "rec"
    assert source.shape == (9, 20, 30)
    assert source.bytes == 9 * 20 * 30 * 2
    assert len(source.files) == 9


def test_several_chosen_files_may_come_in_any_order(tmp_path: Path) -> None:
    volume = grey_values((10, 8, 9), "uint8")
    folder = write_slices(tmp_path / "rec", volume)
    chosen = sorted(folder.iterdir(), reverse=True)
    with imported(chosen, tmp_path / "scan.h5") as scan:
        np.testing.assert_array_equal(scan.read(Box.whole(scan.shape)), volume)


def test_links_to_slices_are_followed(tmp_path: Path) -> None:
    volume = grey_values((8, 8, 9), "uint8")
    folder = write_slices(tmp_path / "real", volume)
    (tmp_path / "link").symlink_to(folder, target_is_directory=True)
    assert inspect_source(tmp_path / "link").shape == (8, 8, 9)


def test_imagej_stack_behind_one_page(tmp_path: Path) -> None:
    volume = grey_values((12, 33, 21), "uint16")
    path = tmp_path / "stack.tif"
    tifffile.imwrite(path, volume, imagej=True, metadata={"axes": "ZYX"})
    # ImageJ itself writes one page for large stacks and puts all slices behind each other.
    with tifffile.TiffFile(path) as tiff:
        offset = tiff.pages[0].offset
        tags = tiff.pages[0].tags  # type: ignore[union-attr]
    with open(path, "r+b") as file:
        file.seek(offset + 2 + 12 * len(tags))
        file.write(bytes(4))
    with imported(path, tmp_path / "scan.h5") as scan:
        np.testing.assert_array_equal(scan.read(Box.whole(scan.shape)), volume)


def test_shaped_stack_behind_one_page(tmp_path: Path) -> None:
    volume = grey_values((12, 33, 21), "float32")
    path = tmp_path / "stack.tif"
    tifffile.imwrite(path, volume, metadata={"axes": "ZYX"}, contiguous=True)
    with tifffile.TiffWriter(tmp_path / "one.tif") as writer:
        writer.write(volume, metadata={"truncate": True})
    for name in ("stack.tif", "one.tif"):
        with imported(tmp_path / name, tmp_path / f"{name}.h5") as scan:
            np.testing.assert_array_equal(scan.read(Box.whole(scan.shape)), volume)


@pytest.mark.parametrize("bits", ["bool", "float64", "float16"])
def test_unusual_types_are_kept_as_close_ones(tmp_path: Path, bits: str) -> None:
    rng = np.random.default_rng(0)
    volume = rng.integers(0, 2, (9, 20, 21)).astype(bits)
    path = tmp_path / "stack.tif"
    tifffile.imwrite(path, volume, photometric="minisblack")
    with imported(path, tmp_path / "scan.h5") as scan:
        assert scan.dtype == (np.uint8 if bits == "bool" else np.float32)
        np.testing.assert_array_equal(scan.read(Box.whole(scan.shape)), volume)


def test_previews_in_a_file_are_no_slices(tmp_path: Path) -> None:
    volume = grey_values((9, 40, 40), "uint8")
    path = tmp_path / "stack.tif"
    with tifffile.TiffWriter(path) as writer:
        for values in volume:
            writer.write(values, contiguous=False, photometric="minisblack")
        writer.write(volume[0, ::4, ::4], subfiletype=1, photometric="minisblack")
    assert inspect_source(path).shape == (9, 40, 40)


def test_values_that_are_no_numbers_become_zero(tmp_path: Path) -> None:
    volume = grey_values((8, 10, 10), "float32")
    volume[3, :5] = np.nan
    volume[4, 0, 0] = -np.inf
    path = tmp_path / "stack.tif"
    tifffile.imwrite(path, volume)
    with imported(path, tmp_path / "scan.h5") as scan:
        expected = np.nan_to_num(volume, nan=0, posinf=0, neginf=0)
        np.testing.assert_array_equal(scan.read(Box.whole(scan.shape)), expected)
        assert scan.statistics.not_finite == pytest.approx(51 / 800)
        assert "no number" in scan.statistics.warnings()[0]


def test_giant_slices_are_taken_in_thinner_slabs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scan_import_module, "_SLAB_BYTES", 200_000)
    volume = grey_values((37, 130, 70), "uint16")
    folder = write_slices(tmp_path / "rec", volume)
    with imported(folder, tmp_path / "scan.h5") as scan:
        np.testing.assert_array_equal(scan.read(Box.whole(scan.shape)), volume)
        assert scan._dataset.chunks[0] < 8


def test_empty_surroundings_are_stored_small_and_noise_as_it_is(tmp_path: Path) -> None:
    noise = grey_values((64, 128, 128), "uint16")
    empty = np.zeros((64, 128, 128), np.uint16)
    for name, volume, least, most in (("noise", noise, 0.99, 1.1), ("empty", empty, 0, 0.05)):
        tifffile.imwrite(tmp_path / f"{name}.tif", volume)
        imported(tmp_path / f"{name}.tif", tmp_path / f"{name}.h5").close()
        share = (tmp_path / f"{name}.h5").stat().st_size / volume.nbytes
        assert least <= share <= most


def test_progress_counts_slices(tmp_path: Path) -> None:
    path = tmp_path / "stack.tif"
    tifffile.imwrite(path, grey_values((20, 8, 8), "uint8"))
    progress = Progress()
    totals = []
    original = progress.start
    progress.start = lambda *a, **k: (totals.append(k.get("total", 0)), original(*a, **k))[1]  # type: ignore[method-assign,func-returns-value]
    import_scan(inspect_source(path), tmp_path / "scan.h5", progress, CancelToken())
    assert totals[0] == 20


def test_many_threads_read_one_scan(tmp_path: Path) -> None:
    from concurrent.futures import ThreadPoolExecutor

    volume = grey_values((40, 70, 80), "uint16")
    tifffile.imwrite(tmp_path / "stack.tif", volume)
    with imported(tmp_path / "stack.tif", tmp_path / "scan.h5") as scan:

        def read(seed: int) -> bool:
            axis = seed % 3
            index = seed * 7 % scan.shape[axis]
            return bool((scan.read_slice(axis, index) == volume.take(index, axis)).all())

        with ThreadPoolExecutor(4) as pool:
            assert all(pool.map(read, range(60)))


def test_reading_outside_or_after_closing_is_refused(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "stack.tif", grey_values((9, 10, 11), "uint8"))
    scan = imported(tmp_path / "stack.tif", tmp_path / "scan.h5")
    with pytest.raises(IndexError):
        scan.read(Box((0, 0, 0), (10, 10, 11)))
    with pytest.raises(IndexError):
        scan.read_slice(1, -1)
    scan.close()
    scan.close()
    with pytest.raises(ValueError, match="closed"):
        scan.read_slice(0, 0)


def test_two_scans_of_one_file_are_independent(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "stack.tif", grey_values((9, 10, 11), "uint8"))
    first = imported(tmp_path / "stack.tif", tmp_path / "scan.h5")
    with open_scan(tmp_path / "scan.h5") as second:
        first.close()
        assert math.prod(second.read_slice(0, 0).shape) == 110

"""Every bad input gives one sentence that names the file, a remedy, and nothing half-made."""

from __future__ import annotations

import io
import struct
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from particleseg_app.errors import ScanError
from particleseg_app.progress import CancelToken, Progress
from particleseg_app.volumes import import_scan, inspect_source, open_scan
from particleseg_app.volumes.slice_reader import _fill
from particleseg_app.volumes.slice_series import natural_key
from tests.volumes.sources import grey_values, write_slices


def _refused(path: object) -> ScanError:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(ScanError) as caught:
            inspect_source(path)  # type: ignore[arg-type]
    assert caught.value.sentence.endswith(".")
    assert caught.value.remedy
    return caught.value


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_slices(tmp_path / "rec", grey_values((12, 20, 24), "uint16"))


def test_missing_slice_is_named(folder: Path) -> None:
    (folder / "slice_0004.tif").unlink()
    (folder / "slice_0007.tif").unlink()
    message = _refused(folder).sentence
    assert "slice_0004.tif" in message
    assert "1 more" in message


def test_every_second_slice_is_allowed_and_remarked(folder: Path) -> None:
    for index in range(1, 24):
        (folder / f"slice_{index:04d}.tif").unlink(missing_ok=True)
    write_slices(folder, grey_values((12, 20, 24), "uint16"))
    for index in range(12):
        (folder / f"slice_{index:04d}.tif").rename(folder / f"s{2 * index:03d}.tif")
    source = inspect_source(folder)
    assert "steps of 2" in " ".join(source.remarks)


def test_slice_of_another_shape_is_named(folder: Path) -> None:
    tifffile.imwrite(folder / "slice_0005.tif", np.zeros((20, 25), np.uint16))
    message = _refused(folder).sentence
    assert "slice_0005.tif" in message
    assert "25 × 20" in message
    assert "24 × 20" in message


def test_first_slice_may_be_the_odd_one(folder: Path) -> None:
    tifffile.imwrite(folder / "slice_0000.tif", np.zeros((20, 24), np.uint8))
    assert _refused(folder).sentence.startswith("slice_0000.tif")


def test_truncated_slice_is_named(folder: Path) -> None:
    path = folder / "slice_0006.tif"
    path.write_bytes(path.read_bytes()[:-100])
    assert "slice_0006.tif is cut off" in _refused(folder).sentence


def test_truncated_stack(tmp_path: Path) -> None:
    for bigtiff in (False, True):
        path = tmp_path / "stack.tif"
        with tifffile.TiffWriter(path, bigtiff=bigtiff) as writer:
            for values in grey_values((12, 50, 50), "uint16"):
                writer.write(values, contiguous=False)
        whole = path.read_bytes()
        for kept in (3, 9, 20, 300, len(whole) // 2, len(whole) - 1):
            path.write_bytes(whole[:kept])
            assert "stack.tif" in _refused(path).sentence


def test_not_a_tiff(folder: Path) -> None:
    (folder / "slice_0003.tif").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(100))
    assert "slice_0003.tif is not a TIFF" in _refused(folder).sentence
    (folder / "slice_0003.tif").write_bytes(b"")
    assert "slice_0003.tif is empty" in _refused(folder).sentence


def test_file_of_another_kind(tmp_path: Path) -> None:
    (tmp_path / "photo.png").write_bytes(b"x")
    assert "photo.png" in _refused(tmp_path / "photo.png").sentence
    assert "nowhere" in _refused(tmp_path / "nowhere").sentence
    assert "No file" in _refused([]).sentence


def test_folder_without_tiff(tmp_path: Path) -> None:
    assert "no TIFF" in _refused(tmp_path).sentence
    (tmp_path / "a.bmp").write_bytes(b"x")
    error = _refused(tmp_path)
    assert ".bmp" in error.sentence
    assert "convert" in error.remedy


def test_a_folder_around_the_slices_is_told_where_they_lie(folder: Path) -> None:
    outer = folder.parent / "sample 7"
    outer.mkdir()
    folder.rename(outer / "recon")
    error = _refused(outer)
    assert "no TIFF" in error.sentence
    assert "recon" in error.remedy


def test_several_folders_are_not_one_scan(folder: Path, tmp_path: Path) -> None:
    assert "several folders" in _refused([folder, tmp_path]).sentence


def test_rgb(tmp_path: Path) -> None:
    volume = np.zeros((9, 10, 12, 3), np.uint8)
    folder = write_slices(tmp_path / "rec", volume, photometric="rgb")
    assert "slice_0000.tif is a colour image" in _refused(folder).sentence
    colours = np.zeros((3, 256), np.uint16)
    tifffile.imwrite(tmp_path / "p.tif", volume[..., 0], photometric="palette", colormap=colours)
    assert "colour" in _refused(tmp_path / "p.tif").sentence


def test_too_few_slices(tmp_path: Path) -> None:
    folder = write_slices(tmp_path / "rec", grey_values((7, 20, 24), "uint16"))
    assert "only 7 slices" in _refused(folder).sentence
    assert "only 1 slice;" in _refused(folder / "slice_0000.tif").sentence


def test_channels_and_time_points(tmp_path: Path) -> None:
    path = tmp_path / "hyper.tif"
    volume = grey_values((2, 9, 3, 10, 11), "uint8")
    tifffile.imwrite(path, volume, imagej=True, metadata={"axes": "TZCYX"})
    assert "3 channels" in _refused(path).sentence
    tifffile.imwrite(path, volume[:, :, 0], imagej=True, metadata={"axes": "TZYX"})
    assert "2 time points" in _refused(path).sentence
    tifffile.imwrite(path, volume[0], ome=True, metadata={"axes": "ZCYX"})
    assert "3 channels" in _refused(path).sentence


def test_two_series_in_one_folder(folder: Path) -> None:
    for index in range(9):
        tifffile.imwrite(folder / f"other_{index:04d}.tif", np.zeros((20, 24), np.uint16))
    message = _refused(folder).sentence
    assert "more than one series" in message
    assert "other_0000.tif" in message


def test_two_scans_told_apart_by_a_number(tmp_path: Path) -> None:
    for scan in (1, 2):
        write_slices(tmp_path, grey_values((9, 6, 7), "uint8"), name=f"scan{scan}_{{:03d}}.tif")
    message = _refused(tmp_path).sentence
    assert "2 numbered series" in message
    assert "scan1_000.tif" in message


def test_same_slice_twice(folder: Path) -> None:
    (folder / "slice_0004.tiff").write_bytes((folder / "slice_0004.tif").read_bytes())
    assert "twice" in _refused(folder).sentence


def test_positions_beside_the_slice_number_are_understood(tmp_path: Path) -> None:
    for index in range(9):
        path = tmp_path / f"z{17 * index + 3}_s{index:03d}_of_009.tif"
        tifffile.imwrite(path, np.full((4, 5), index, np.uint8))
    assert [p.name.split("_")[1] for p in inspect_source(tmp_path).files] == [
        f"s{index:03d}" for index in range(9)
    ]


def test_stacks_beside_each_other(tmp_path: Path) -> None:
    for index in range(3):
        tifffile.imwrite(tmp_path / f"part{index}.tif", grey_values((9, 6, 7), "uint8"))
    assert "part0.tif alone is a stack of 9" in _refused(tmp_path).sentence


def test_unsupported_numbers(tmp_path: Path) -> None:
    for dtype in ("uint64", "complex64"):
        path = tmp_path / f"{dtype}.tif"
        tifffile.imwrite(path, np.zeros((9, 6, 7), dtype))
        assert f"{dtype}.tif" in _refused(path).sentence


def _set_tag(path: Path, code: int, value: int) -> None:
    with tifffile.TiffFile(path, mode="r+") as tiff:
        tiff.pages[0].tags[code].overwrite(value)  # type: ignore[union-attr]


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_absurd_sizes_take_no_memory(tmp_path: Path, compression: str | None) -> None:
    for width, height in ((90_000, 90_000), (2**31 - 1, 2**31 - 1), (20, 2**30)):
        folder = write_slices(
            tmp_path / "rec", grey_values((8, 20, 24), "uint16"), compression=compression
        )
        for path in folder.iterdir():
            _set_tag(path, 256, width)
            _set_tag(path, 257, height)
        assert "slice_0000.tif" in _refused(folder).sentence


def test_absurd_imagej_count(tmp_path: Path) -> None:
    path = tmp_path / "stack.tif"
    tifffile.imwrite(path, grey_values((1, 20, 24), "uint16"), imagej=True)
    content = path.read_bytes().replace(b"images=1\n", b"images=9\n")
    if b"images=9\n" not in content:
        pytest.skip("this version writes no image count")
    path.write_bytes(content)
    assert "cut off" in _refused(path).sentence


def test_pages_that_follow_each_other_in_a_circle(tmp_path: Path) -> None:
    path = tmp_path / "circle.tif"
    tifffile.imwrite(path, grey_values((20, 24), "uint16"))
    content = bytearray(path.read_bytes())
    first = struct.unpack("<I", content[4:8])[0]
    entries = struct.unpack("<H", content[first : first + 2])[0]
    link = first + 2 + 12 * entries
    content[link : link + 4] = struct.pack("<I", first)
    path.write_bytes(bytes(content))
    assert "circle.tif is damaged" in _refused(path).sentence


def test_damaged_pixels_are_found_during_the_import(tmp_path: Path) -> None:
    folder = write_slices(tmp_path / "rec", grey_values((12, 60, 60), "uint16"), compression="zlib")
    path = folder / "slice_0009.tif"
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 200] = bytes(200)
    path.write_bytes(bytes(content))
    source = inspect_source(folder)
    destination = tmp_path / "project" / "scan.h5"
    with pytest.raises(ScanError, match=r"slice_0009\.tif is damaged"):
        import_scan(source, destination, Progress(), CancelToken())
    assert list(destination.parent.iterdir()) == []


@pytest.mark.parametrize("change", [lambda p: p.unlink(), lambda p: p.write_bytes(b"II*\0")])
def test_files_that_change_after_the_check(
    folder: Path, tmp_path: Path, change: Callable[[Path], object]
) -> None:
    source = inspect_source(folder)
    change(folder / "slice_0008.tif")
    destination = tmp_path / "project" / "scan.h5"
    with pytest.raises(ScanError, match=r"slice_0008\.tif"):
        import_scan(source, destination, Progress(), CancelToken())
    assert list(destination.parent.iterdir()) == []


_VALID: dict[str, bytes] = {}


def _valid(kind: str, folder: Path) -> bytes:
    if kind not in _VALID:
        path = folder / "valid.tif"
        volume = grey_values((9, 12, 14), "uint16")
        if kind == "imagej":
            tifffile.imwrite(path, volume, imagej=True, metadata={"axes": "ZYX"})
        else:
            tifffile.imwrite(path, volume, compression="zlib" if kind == "zlib" else None)
        _VALID[kind] = path.read_bytes()
    return _VALID[kind]


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    kind=st.sampled_from(("plain", "zlib", "imagej")),
    changes=st.lists(st.tuples(st.integers(0, 2**16), st.integers(0, 255)), max_size=8),
    cut=st.integers(0, 4000),
)
def test_any_damage_is_a_scan_error_or_none(
    kind: str, changes: list[tuple[int, int]], cut: int, tmp_path: Path
) -> None:
    content = bytearray(_valid(kind, tmp_path))
    for position, value in changes:
        content[position % len(content)] = value
    path = tmp_path / "damaged.tif"
    path.write_bytes(bytes(content[: len(content) - cut] if cut < 2000 else content))
    destination = tmp_path / "scan.h5"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            import_scan(inspect_source(path), destination, Progress(), CancelToken())
            open_scan(destination).close()
            destination.unlink()
        except ScanError as error:
            assert error.sentence
    assert not destination.exists()
    assert not destination.with_name("scan.h5.part").exists()


def test_damaged_scan_files(tmp_path: Path) -> None:
    for content in (b"", b"no HDF5", b"\x89HDF\r\n\x1a\n" + bytes(500)):
        path = tmp_path / "scan.h5"
        path.write_bytes(content)
        with pytest.raises(ScanError):
            open_scan(path)
    with pytest.raises(ScanError):
        open_scan(tmp_path / "missing.h5")


def test_names_that_begin_with_another_name_are_put_in_order(folder: Path) -> None:
    for name in ("notes2", "notes", "notes10"):
        (folder / name).write_text("no slice")
    assert inspect_source(folder).shape == (12, 20, 24)
    names = ["ore10", "ore2", "ore", "7", "ore2b", "Ore"]
    ordered = [path.name for path in sorted(map(Path, names), key=natural_key)]
    assert ordered == ["7", "Ore", "ore", "ore2", "ore2b", "ore10"]


def test_tiles_far_larger_than_the_slice_take_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "tiles.tif"
    with tifffile.TiffWriter(path) as writer:
        for _ in range(8):
            writer.write(
                np.zeros((16, 16), np.uint16), tile=(8192, 8192), compression="zlib",
                photometric="minisblack", contiguous=False,
            )  # fmt: skip
    assert "tiles of 8192 × 8192 pixels" in _refused(path).sentence


def test_a_place_that_may_not_be_looked_into_is_told(tmp_path: Path) -> None:
    assert "does not exist" in _refused(tmp_path / ("long" * 100)).sentence


class _InDrops(io.BytesIO):
    """A file that gives a few bytes at a time, as a network drive may."""

    def readinto(self, buffer: object) -> int:  # type: ignore[override]
        view = memoryview(buffer)  # type: ignore[arg-type]
        return super().readinto(view[:7])


def test_a_slice_is_read_to_its_end_however_little_comes_at_a_time() -> None:
    values = np.arange(60, dtype=np.uint16).reshape(6, 10)
    found = np.zeros_like(values)
    assert _fill(_InDrops(values.tobytes()), found) == values.nbytes
    assert np.array_equal(found, values)
    assert _fill(_InDrops(values.tobytes()[:50]), found) == 50

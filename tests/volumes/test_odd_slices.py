"""Slices inside a stack that hold nothing or are copies: found at import, and said."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
import tifffile

from particleseg_app.volumes import open_scan
from tests.volumes.sources import imported

SHAPE = (150, 100, 130)


def volume() -> np.ndarray:
    """Noise, in more slices than are read at a time."""
    return np.random.default_rng(4).integers(8000, 8900, SHAPE).astype(np.uint16)


def warnings_of(grey: np.ndarray, place: Path, compression: str | None = None) -> tuple[str, ...]:
    source = place / "scan.tif"
    tifffile.imwrite(source, grey, photometric="minisblack", compression=compression)
    with imported(source, place / "scan.h5") as scan:
        found = scan.statistics.warnings()
    with open_scan(place / "scan.h5") as again:
        assert again.statistics.warnings() == found
    return found


def test_a_good_scan_with_empty_slices_around_the_sample_is_not_warned_of(tmp_path: Path) -> None:
    grey = volume()
    grey[:5] = grey[-70:] = 8000
    assert not any("slice" in warning for warning in warnings_of(grey, tmp_path))


@pytest.mark.parametrize("compression", [None, "deflate"])
@pytest.mark.parametrize("index", [20, 63, 64, 148])
def test_a_blank_slice_is_named(tmp_path: Path, index: int, compression: str | None) -> None:
    grey = volume()
    grey[index] = 8100
    (found,) = warnings_of(grey, tmp_path, compression=compression)
    assert found.startswith(f"Slice {index + 1} is blank")


@pytest.mark.parametrize("compression", [None, "deflate"])
@pytest.mark.parametrize("index", [1, 63, 64, 128, 149])
def test_a_copy_of_the_slice_before_is_named(
    tmp_path: Path, index: int, compression: str | None
) -> None:
    grey = volume()
    grey[index] = grey[index - 1]
    (found,) = warnings_of(grey, tmp_path, compression=compression)
    assert found.startswith(f"Slice {index + 1} is the same")


def test_several_are_counted_and_both_kinds_are_told_apart(tmp_path: Path) -> None:
    grey = volume()
    grey[30:33] = 0
    grey[90] = 0
    grey[101::2] = grey[100:-1:2]
    blank, copied = warnings_of(grey, tmp_path)[-2:]
    assert blank.startswith("4 slices (the first: slice 31) are blank")
    assert copied.startswith("25 slices (the first: slice 102) are the same")


def test_one_voxel_makes_a_slice_another_one(tmp_path: Path) -> None:
    grey = volume()
    grey[40] = 8100
    grey[80] = grey[79]
    # Between the few values that are looked at first.
    sampled = (-1, -1)
    grey[40][sampled] += 1
    grey[80][sampled] += 1
    assert warnings_of(grey, tmp_path) == ()


def test_slices_without_numbers_are_blank(tmp_path: Path) -> None:
    grey = volume().astype(np.float32)
    grey[70] = np.nan
    blank = warnings_of(grey, tmp_path)[-1]
    assert blank.startswith("Slice 71 is blank")


def test_a_scan_of_an_earlier_version_opens_without(tmp_path: Path) -> None:
    grey = volume()
    grey[40] = 0
    tifffile.imwrite(tmp_path / "scan.tif", grey, photometric="minisblack")
    imported(tmp_path / "scan.tif", tmp_path / "scan.h5").close()
    with h5py.File(tmp_path / "scan.h5", "r+") as file:
        for name in ("blank_slices", "copied_slices"):
            del file["statistics"].attrs[name]
    with open_scan(tmp_path / "scan.h5") as scan:
        assert scan.statistics.warnings() == ()

"""Import of real scans, where they are at hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile

from particleseg_app.units import Box
from particleseg_app.volumes import inspect_source
from tests.volumes.sources import REAL_DATA, imported, needs_real_data

pytestmark = needs_real_data


@pytest.mark.parametrize(
    ("name", "shape", "dtype", "voxel_size"),
    [
        ("sand_in_tube_16bit", (10, 1024, 343), "uint16", 13.15),
        ("soil_8bit", (100, 500, 500), "uint8", None),
        ("nuclei_16bit.tif", (31, 61, 57), "uint16", None),
        ("grain_packing_binary.tif", (501, 501, 300), "uint8", None),
    ],
)
def test_what_is_in_them(
    tmp_path: Path, name: str, shape: tuple[int, ...], dtype: str, voxel_size: float | None
) -> None:
    source = inspect_source(REAL_DATA / name)
    assert (source.shape, source.dtype.name) == (shape, dtype)
    expected = None if voxel_size is None else pytest.approx(voxel_size, abs=0.01)
    assert source.proposed_voxel_size_um == expected
    with imported(REAL_DATA / name, tmp_path / "scan.h5") as scan:
        middle = shape[0] // 2
        one_stack = len(source.files) == 1
        path, key = (source.files[0], middle) if one_stack else (source.files[middle], 0)
        np.testing.assert_array_equal(scan.read_slice(0, middle), tifffile.imread(path, key=key))
        assert scan.read(Box((0, 0, 0), (1, 1, 1))).shape == (1, 1, 1)


def test_threshold_of_the_sand_lies_between_air_and_grains(tmp_path: Path) -> None:
    with imported(REAL_DATA / "sand_in_tube_16bit", tmp_path / "scan.h5") as scan:
        # Air is about 2000, grains about 8000, the wall about 11000.
        assert 4000 < scan.statistics.matrix_and_particle_threshold() < 7500
        assert scan.statistics.warnings() == ()


def test_the_segmented_packing_is_warned_of(tmp_path: Path) -> None:
    with imported(REAL_DATA / "grain_packing_binary.tif", tmp_path / "scan.h5") as scan:
        assert "two grey values" in scan.statistics.warnings()[0]


def test_the_round_field_of_view_of_the_sand_is_found(tmp_path: Path) -> None:
    with imported(REAL_DATA / "sand_in_tube_16bit", tmp_path / "scan.h5") as scan:
        view = scan.field_of_view
        assert view is not None and view.filled == 0
        assert 0.04 < view.outside_share < 0.05
        # A circle: as wide above as below, and every slice is 0 there and nowhere beside it.
        assert np.array_equal(view.outside, view.outside[::-1])
        grey = scan.read(Box((0, 0, 0), scan.shape))
        assert not grey[:, view.outside].any()
        assert (grey[:, ~view.outside] == 0).mean() < 1e-3
        assert scan.statistics.minimum > 0
    for name in ("soil_8bit", "nuclei_16bit.tif"):
        with imported(REAL_DATA / name, tmp_path / f"{name}.h5") as scan:
            assert scan.field_of_view is None

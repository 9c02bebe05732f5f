"""The voxel size that a file states is proposed when it is believable, and only then."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from particleseg_app.volumes import inspect_source

VOLUME = np.zeros((9, 12, 14), np.uint16)


def _proposed(path: Path, **options: Any) -> tuple[float | None, str, tuple[str, ...]]:
    tifffile.imwrite(path, VOLUME, **options)
    source = inspect_source(path)
    return source.proposed_voxel_size_um, source.voxel_size_origin, source.remarks


@pytest.mark.parametrize(
    ("unit", "per_unit", "expected"),
    [
        ("um", 1 / 13.15, 13.15),
        ("\\u00B5m", 0.5, 2.0),
        ("micron", 1 / 0.7, 0.7),
        ("mm", 100, 10.0),
        ("nm", 1 / 650, 0.65),
        ("inch", 2000, 12.7),
        ("cm", 1000, 10.0),
        ("pixel", 1.0, None),
        ("", 0.25, None),
    ],
)
def test_imagej(tmp_path: Path, unit: str, per_unit: float, expected: float | None) -> None:
    size, origin, _ = _proposed(
        tmp_path / "s.tif",
        imagej=True,
        resolution=(per_unit, per_unit),
        metadata={"unit": unit, "axes": "ZYX"},
    )
    assert size == (None if expected is None else pytest.approx(expected, rel=1e-4))
    assert origin == ("" if expected is None else "ImageJ metadata")


def test_imagej_spacing_that_differs_is_remarked(tmp_path: Path) -> None:
    size, _, remarks = _proposed(
        tmp_path / "s.tif",
        imagej=True,
        resolution=(0.2, 0.2),
        metadata={"unit": "um", "spacing": 8.0, "axes": "ZYX"},
    )
    assert size == pytest.approx(5)
    assert "8 µm along z" in " ".join(remarks)


@pytest.mark.parametrize(
    ("unit", "per_unit", "expected"),
    [
        ("CENTIMETER", 760.27, 13.1532),
        ("INCH", 2540, 10.0),
        ("INCH", 72, None),
        ("INCH", 96, None),
        ("INCH", 300, None),
        ("CENTIMETER", 28.35, None),
        ("CENTIMETER", 118.11, None),
        ("CENTIMETER", 1, None),
        ("NONE", 1, None),
        ("NONE", 300, None),
    ],
)
def test_resolution_tags(
    tmp_path: Path, unit: str, per_unit: float, expected: float | None
) -> None:
    size, origin, _ = _proposed(
        tmp_path / "s.tif", resolution=(per_unit, per_unit), resolutionunit=unit
    )
    assert size == (None if expected is None else pytest.approx(expected, rel=1e-4))
    assert origin == ("" if expected is None else "TIFF resolution tags")


def test_different_resolution_along_y_is_remarked(tmp_path: Path) -> None:
    _, _, remarks = _proposed(
        tmp_path / "s.tif", resolution=(1000, 500), resolutionunit="CENTIMETER"
    )
    assert "20 µm along y" in " ".join(remarks)


def test_ome(tmp_path: Path) -> None:
    size, origin, remarks = _proposed(
        tmp_path / "s.ome.tif",
        ome=True,
        metadata={
            "axes": "ZYX",
            "PhysicalSizeX": 0.0125,
            "PhysicalSizeXUnit": "mm",
            "PhysicalSizeY": 0.0125,
            "PhysicalSizeYUnit": "mm",
        },
    )
    assert size == pytest.approx(12.5)
    assert origin == "OME metadata"
    assert remarks == ()

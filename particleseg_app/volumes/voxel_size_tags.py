"""The voxel size that a TIFF file states, if it can be believed enough to be proposed."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import Any

_INCH_UM = 25_400.0
_CENTIMETRE_UM = 10_000.0
_UNITS_UM = {
    "nm": 1e-3,
    "nanometer": 1e-3,
    "nanometre": 1e-3,
    "um": 1.0,
    "µm": 1.0,  # micro sign
    "μm": 1.0,  # Greek small letter mu
    "\\u00b5m": 1.0,  # as ImageJ writes the micro sign
    "micron": 1.0,
    "microns": 1.0,
    "micrometer": 1.0,
    "micrometre": 1.0,
    "mm": 1e3,
    "millimeter": 1e3,
    "millimetre": 1e3,
    "cm": _CENTIMETRE_UM,
    "centimeter": _CENTIMETRE_UM,
    "m": 1e6,
    "meter": 1e6,
    "metre": 1e6,
    "inch": _INCH_UM,
    "inches": _INCH_UM,
    "in": _INCH_UM,
}
# Resolutions that programs write when they know nothing, in dots per inch.
_DEFAULT_DPI = (1, 72, 90, 96, 100, 120, 150, 180, 200, 240, 300, 350, 360, 400, 600, 1200, 2400)
_SMALLEST_UM, _LARGEST_UM = 0.01, 2000.0
_SAME = 0.005


@dataclass(frozen=True)
class StatedVoxelSize:
    """`size_um` is the edge in x, None when nothing usable is stated; `origin` says where from."""

    size_um: float | None = None
    origin: str = ""
    remarks: tuple[str, ...] = field(default=())


def stated_voxel_size(tags: Any, imagej: dict[str, Any] | None, ome: str) -> StatedVoxelSize:
    """What the first page of a TIFF file says of its voxel size.

    `tags` are tifffile's tags of the page, `imagej` its ImageJ metadata, `ome` its OME-XML.
    """
    for found in (_from_ome(ome), _from_imagej(tags, imagej), _from_resolution(tags, imagej)):
        if found is not None:
            return found
    return StatedVoxelSize()


def _from_ome(ome: str) -> StatedVoxelSize | None:
    pixels = re.search(r"<(?:\w+:)?Pixels\s[^>]{0,4000}>", ome[:1_000_000])
    if pixels is None:
        return None
    attributes = dict(re.findall(r'(\w+)\s*=\s*"([^"]*)"', pixels.group(0)))
    sizes = {}
    for axis in "XYZ":
        value = _number(attributes.get(f"PhysicalSize{axis}"))
        unit = attributes.get(f"PhysicalSize{axis}Unit", "µm")
        sizes[axis] = None if value is None else _in_micrometres(value, unit)
    return _judge(sizes["X"], sizes["Y"], sizes["Z"], "OME metadata")


def _from_imagej(tags: Any, imagej: dict[str, Any] | None) -> StatedVoxelSize | None:
    if not imagej:
        return None
    unit = str(imagej.get("unit", ""))
    x, y = _pixels_per_unit(tags, "XResolution"), _pixels_per_unit(tags, "YResolution")
    if x is None or _unit_um(unit) is None:
        return None
    spacing = _number(imagej.get("spacing"))
    return _judge(
        _in_micrometres(1 / x, unit),
        None if y is None else _in_micrometres(1 / y, unit),
        None if spacing is None else _in_micrometres(spacing, unit),
        "ImageJ metadata",
    )


def _from_resolution(tags: Any, imagej: dict[str, Any] | None) -> StatedVoxelSize | None:
    unit_tag = tags.get("ResolutionUnit")
    unit = int(unit_tag.value) if unit_tag is not None else (1 if imagej else 2)
    unit_um = {2: _INCH_UM, 3: _CENTIMETRE_UM}.get(unit)
    x, y = _pixels_per_unit(tags, "XResolution"), _pixels_per_unit(tags, "YResolution")
    if unit_um is None or x is None:
        return None
    dots_per_inch = x * _INCH_UM / unit_um
    # Whole numbers of dots per inch, also when rounded to dots per centimetre.
    if any(abs(dots_per_inch - dpi) < max(0.02, 1e-3 * dpi) for dpi in _DEFAULT_DPI):
        return None
    if abs(x - 1) < 1e-9:
        return None
    return _judge(unit_um / x, None if y is None else unit_um / y, None, "TIFF resolution tags")


def _judge(
    x_um: float | None, y_um: float | None, z_um: float | None, origin: str
) -> StatedVoxelSize | None:
    if x_um is None or not _SMALLEST_UM <= x_um <= _LARGEST_UM:
        return None
    size = float(f"{x_um:.6g}")
    remarks = []
    for axis, other in (("y", y_um), ("z", z_um)):
        if other is not None and other > 0 and abs(other - x_um) > _SAME * x_um:
            remarks.append(
                f"The file states {x_um:.4g} µm for a voxel along x, but {other:.4g} µm along "
                f"{axis}; only cubic voxels are supported, so check the voxel size."
            )
    return StatedVoxelSize(size, origin, tuple(remarks))


def _pixels_per_unit(tags: Any, name: str) -> float | None:
    tag = tags.get(name)
    value = None if tag is None else tag.value
    if not (isinstance(value, tuple) and len(value) >= 2) or not value[1]:
        return None
    ratio = float(value[0]) / float(value[1])
    return ratio if math.isfinite(ratio) and ratio > 0 else None


def _unit_um(unit: str) -> float | None:
    return _UNITS_UM.get(unit.strip().strip('"').lower())


def _in_micrometres(value: float, unit: str) -> float | None:
    factor = _unit_um(unit)
    return None if factor is None else value * factor


def _number(text: Any) -> float | None:
    try:
        value = float(text)
    except (TypeError, ValueError):
        return None
    return value if math.isfinite(value) and value > 0 else None

"""The proposed particle diameter is right for balls and ellipsoids, apart and touching."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from scipy import ndimage

from particleseg_app.errors import Cancelled
from particleseg_app.progress import CancelToken
from particleseg_app.volumes import diameter_by_threshold
from tests.volumes.sources import REAL_DATA, imported, needs_real_data


def _particles(
    shape: tuple[int, int, int], diameter: float, distance: float, axes: tuple[float, ...]
) -> np.ndarray:
    """Grey values of particles of about `diameter`, `distance` diameters apart."""
    rng = np.random.default_rng(3)
    solid = np.zeros(shape, np.float32)
    pitch = diameter * distance
    for place in np.ndindex(*(int(n / pitch) + 2 for n in shape)):
        shift = 0.5 * pitch * (place[0] % 2)
        centre = np.array(place) * pitch * (0.82, 1, 1) + (0, shift, shift)
        centre += rng.uniform(-0.05, 0.05, 3) * diameter
        radii = np.array(axes) / np.prod(axes) ** (1 / 3) * diameter / 2 * rng.lognormal(0, 0.12)
        turn, _ = np.linalg.qr(rng.normal(size=(3, 3)))
        low = np.maximum(0, np.floor(centre - radii.max()).astype(int))
        high = np.minimum(shape, np.ceil(centre + radii.max()).astype(int) + 1)
        if (high <= low).any():
            continue
        grids = np.meshgrid(
            *(np.arange(a, b) - c for a, b, c in zip(low, high, centre, strict=True)),
            indexing="ij",
        )
        inside = ((np.stack(grids, -1) @ turn / radii) ** 2).sum(-1) <= 1
        box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
        solid[box] = np.maximum(solid[box], inside)
    blurred = ndimage.gaussian_filter(solid, 0.7)
    return (10_000 + 20_000 * blurred + rng.normal(0, 4000, shape)).clip(0, 65535).astype("uint16")


@pytest.mark.parametrize("diameter", [8, 14, 30])
@pytest.mark.parametrize(
    ("distance", "axes"),
    [(1.5, (1, 1, 1)), (1.02, (1, 1, 1)), (1.7, (1, 0.8, 0.6)), (1.05, (1, 0.8, 0.65))],
    ids=["balls", "touching balls", "ellipsoids", "touching ellipsoids"],
)
def test_known_particles(
    tmp_path: Path, diameter: float, distance: float, axes: tuple[float, ...]
) -> None:
    edge = 100 if diameter < 20 else 140
    tifffile.imwrite(tmp_path / "s.tif", _particles((edge,) * 3, diameter, distance, axes))
    with imported(tmp_path / "s.tif", tmp_path / "s.h5") as scan:
        proposal = diameter_by_threshold(scan, CancelToken())
    assert proposal is not None
    assert 0.75 < proposal.diameter_voxels / diameter < 1.3
    assert proposal.low < proposal.diameter_voxels < proposal.high
    # Where few particles fit into so small a volume, it must say that it is less sure.
    assert proposal.confidence == "good" or "few" in proposal.explanation
    assert proposal.explanation.endswith(".")


def test_particles_larger_than_a_block_are_found(tmp_path: Path) -> None:
    volume = _particles((200, 200, 200), 55, 1.05, (1, 0.9, 0.8))
    tifffile.imwrite(tmp_path / "s.tif", volume)
    with imported(tmp_path / "s.tif", tmp_path / "s.h5") as scan:
        proposal = diameter_by_threshold(scan, CancelToken())
    assert proposal is not None
    assert 0.75 < proposal.diameter_voxels / 55 < 1.3


def test_thin_stack_is_measured_in_slices_and_said_to_be_less_sure(tmp_path: Path) -> None:
    volume = _particles((60, 200, 220), 18, 1.2, (1, 0.9, 0.8))[20:30]
    tifffile.imwrite(tmp_path / "s.tif", volume)
    with imported(tmp_path / "s.tif", tmp_path / "s.h5") as scan:
        proposal = diameter_by_threshold(scan, CancelToken())
    assert proposal is not None
    assert 0.7 < proposal.diameter_voxels / 18 < 1.35
    assert proposal.confidence != "good"
    assert "thin" in proposal.explanation


@pytest.mark.parametrize("kind", ["constant", "empty with one speck"])
def test_nothing_is_proposed_for_nothing(tmp_path: Path, kind: str) -> None:
    volume = np.full((40, 50, 60), 100, np.uint8)
    if kind != "constant":
        volume[20, 20, 20:22] = 200
    tifffile.imwrite(tmp_path / "s.tif", volume)
    with imported(tmp_path / "s.tif", tmp_path / "s.h5") as scan:
        assert diameter_by_threshold(scan, CancelToken()) is None


def test_pure_noise_is_never_good(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    volume = rng.normal(1000, 100, (80, 90, 100)).astype(np.uint16)
    tifffile.imwrite(tmp_path / "s.tif", volume)
    with imported(tmp_path / "s.tif", tmp_path / "s.h5") as scan:
        proposal = diameter_by_threshold(scan, CancelToken())
    assert proposal is None or proposal.confidence == "poor"


def test_cancel(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "s.tif", np.zeros((9, 20, 20), np.uint8))
    cancel = CancelToken()
    cancel.cancel()
    with (
        imported(tmp_path / "s.tif", tmp_path / "s.h5") as scan,
        pytest.raises(Cancelled),
    ):
        diameter_by_threshold(scan, cancel)


@needs_real_data
@pytest.mark.parametrize(
    ("name", "low", "high"), [("sand_in_tube_16bit", 14, 24), ("soil_8bit", 9, 18)]
)
def test_real_scans(tmp_path: Path, name: str, low: float, high: float) -> None:
    with imported(REAL_DATA / name, tmp_path / "s.h5") as scan:
        proposal = diameter_by_threshold(scan, CancelToken())
    assert proposal is not None
    assert low < proposal.diameter_voxels < high
    assert proposal.confidence == "fair"

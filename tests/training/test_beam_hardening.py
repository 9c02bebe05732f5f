"""Beam hardening: what a polychromatic beam adds to a reconstruction, and one energy does not."""

from __future__ import annotations

import numpy as np
import pytest

from particleseg_app.training import beam_hardening
from particleseg_app.training.beam_hardening import (
    BeamHardeningSettings,
    SampleCylinder,
    back_project,
    hardened_beam,
    klein_nishina,
    project,
    ramp_filtered,
    tube_spectrum,
)

EDGE, MIDDLE = 96, 48
TUBE = BeamHardeningSettings(peak_kv=100, aluminium_mm=0.5, depth=3.0, photoelectric_level=0.5)
SAMPLE = SampleCylinder(47.5, 47.5, (40.0,))
Y, X = np.mgrid[:EDGE, :EDGE] - 47.5


def slices(plane: np.ndarray) -> np.ndarray:
    return np.repeat(plane[None], 3, axis=0).astype(np.float32)


def hardening_error(
    attenuation: np.ndarray, sample: SampleCylinder, settings: BeamHardeningSettings
) -> np.ndarray:
    return hardened_beam(attenuation, sample, settings)[0]


def cupping(error: np.ndarray) -> float:
    """How much darker the centre is than the rim inside the surface."""
    middle = error[1]
    rim = (np.hypot(Y, X) > 33) & (np.hypot(Y, X) < 37)
    return float(
        middle[rim].mean() - middle[MIDDLE - 4 : MIDDLE + 4, MIDDLE - 4 : MIDDLE + 4].mean()
    )


def test_dense_cylinder_is_darker_in_the_middle_than_at_its_rim() -> None:
    cylinder = slices(np.hypot(Y, X) < 40)
    deep = cupping(hardening_error(cylinder, SAMPLE, TUBE))
    shallow = cupping(hardening_error(cylinder, SAMPLE, BeamHardeningSettings(100, 0.5, 0.05, 0.5)))
    assert deep > 0.15
    assert 0 < shallow < 0.5 * deep
    # A filter takes the soft part of the beam away before the sample does.
    filtered = cupping(hardening_error(cylinder, SAMPLE, BeamHardeningSettings(100, 6, 3, 0.5)))
    assert 0 < filtered < 0.8 * deep


def test_one_energy_shows_neither_cupping_nor_bands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        beam_hardening, "tube_spectrum", lambda _: (np.array([60.0]), np.array([1.0]))
    )
    assert np.abs(hardening_error(slices(np.hypot(Y, X) < 40), SAMPLE, TUBE)).max() < 1e-3
    assert np.abs(hardening_error(slices(two_grains()), SAMPLE, TUBE)).max() < 1e-3


def two_grains() -> np.ndarray:
    plane = 0.2 * (np.hypot(Y, X) < 40)
    plane[(np.hypot(Y, X - 22) < 9) | (np.hypot(Y, X + 22) < 9)] = 3.0
    return plane


def test_two_dense_grains_have_a_dark_band_between_them() -> None:
    error = hardening_error(slices(two_grains()), SAMPLE, TUBE)[1]
    between = error[MIDDLE - 2 : MIDDLE + 2, MIDDLE - 2 : MIDDLE + 2].mean()
    beside = error[MIDDLE + 24 : MIDDLE + 28, MIDDLE - 2 : MIDDLE + 2].mean()
    assert between < beside - 0.1
    # Full correction for the mean material cures the cupping of a pure one, not the band.
    corrected = BeamHardeningSettings(100, 0.5, 3.0, 0.5, correction=1.0)
    assert cupping(hardening_error(slices(np.hypot(Y, X) < 40), SAMPLE, corrected)) < 0.01
    error = hardening_error(slices(two_grains()), SAMPLE, corrected)[1]
    assert error[MIDDLE, MIDDLE] < error[MIDDLE + 26, MIDDLE] - 0.05


def test_an_empty_middle_slice_does_not_set_the_beam() -> None:
    scene = np.zeros((15, EDGE, EDGE), np.float32)
    scene[:3] = np.hypot(Y, X) < 20
    bare = SampleCylinder(47.5, 47.5, (40.0,), ())
    error, noise = hardened_beam(scene, bare, TUBE)
    assert np.isfinite(error).all() and np.isfinite(noise).all()
    assert 0.01 < np.abs(error[0]).max() < 1


def test_photon_noise_is_strongest_where_most_is_absorbed() -> None:
    noise = hardened_beam(slices(np.hypot(Y, X) < 40), SAMPLE, TUBE)[1]
    assert noise.shape == (1, 48, 48)
    assert noise.max() == 1
    centre, rim, air = noise[0, 24, 24], noise[0, 24, 6], noise[0, 1, 1]
    assert centre > 1.05 * rim > 1.1 * air


def test_a_small_scene_sees_the_cupping_of_the_cylinder_it_is_cut_from() -> None:
    whole = hardening_error(slices(np.hypot(Y, X) < 40), SAMPLE, TUBE)
    part = slices(np.hypot(Y, X) < 40)[:, 32:64, 16:48]
    moved = SampleCylinder(47.5 - 32, 47.5 - 16, (40.0,))
    error = hardening_error(part, moved, TUBE)
    inner = (slice(1, 2), slice(4, 28), slice(4, 28))
    # The pixels of the two grids are the same; only the free grey factor is found anew.
    assert np.corrcoef(whole[:, 32:64, 16:48][inner].ravel(), error[inner].ravel())[0, 1] > 0.98


def test_back_projection_of_filtered_projections_gives_the_slice_back() -> None:
    disk = (np.hypot(Y, X) < 30).astype(np.float32)[None]
    angles = np.arange(120) * np.pi / 120
    rows = project(disk, angles, 141, (47.5, 47.5), 70.0)[0]
    assert rows.max() == pytest.approx(60, rel=0.05)  # the diameter
    again = back_project(ramp_filtered(rows), angles, (EDGE, EDGE), (47.5, 47.5), 70.0)
    assert np.abs(again - disk[0])[np.abs(np.hypot(Y, X) - 30) > 4].max() < 0.1
    assert np.abs(again[MIDDLE - 10 : MIDDLE + 10, MIDDLE - 10 : MIDDLE + 10] - 1).max() < 0.05


def test_spectrum_hardens_with_filter_and_voltage() -> None:
    def mean_energy(peak_kv: float, aluminium_mm: float) -> float:
        energies, weights = tube_spectrum(BeamHardeningSettings(peak_kv, aluminium_mm, 1, 1))
        assert weights.sum() == pytest.approx(1)
        assert energies.max() < peak_kv
        return float((energies * weights).sum())

    assert mean_energy(80, 0.2) < mean_energy(80, 4) < mean_energy(140, 4)
    # Klein and Nishina: about 0.84 of Thomson's cross section at 50 keV, 0.74 at 100 keV.
    assert klein_nishina(50.0) == pytest.approx(0.84, abs=0.01)
    assert klein_nishina(100.0) == pytest.approx(0.74, abs=0.01)

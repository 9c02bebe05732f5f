"""What the wizard says a run will cost, and what it will do about noise, rings, uneven slices."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tifffile
from pytestqt.qtbot import QtBot

from particleseg_app.gui.tasks import running_tasks
from particleseg_app.gui.wizard.cost_card import CostCard
from particleseg_app.progress import CancelToken, Progress
from particleseg_app.volumes import Scan, import_scan, inspect_source, open_scan

ANSWERS = {"voxel_size_um": 10.0, "particle_diameter_um": 120.0, "model": "light"}


def scan_with_noise(
    folder: Path, deviation: float, steps: float = 0.0, rings: float = 0.0, edge: int = 48
) -> Scan:
    """Balls 12 voxels wide that stand out by 1000 grey values; `steps`: deviation of slices,
    `rings`: grey values of five rings."""
    z, y, x = np.indices((48, edge, edge))
    ball = ((z % 16 - 8) ** 2 + (y % 16 - 8) ** 2 + (x % 16 - 8) ** 2) <= 36
    grey = 20_000 + 1000.0 * ball + np.random.default_rng(3).normal(0, deviation, ball.shape)
    grey += np.random.default_rng(4).normal(0, steps, 48)[:, None, None]
    radius = np.hypot(y - (edge - 1) / 2, x - (edge - 1) / 2)
    grey += rings * (np.abs(radius[..., None] - (8, 15, 22, 29, 35)) < 1).any(axis=-1)
    tifffile.imwrite(folder / "scan.tif", grey.astype(np.uint16))
    import_scan(inspect_source(folder / "scan.tif"), folder / "scan.h5", Progress(), CancelToken())
    return open_scan(folder / "scan.h5")


@pytest.fixture
def card(request: pytest.FixtureRequest, qtbot: QtBot, tmp_path: Path) -> Iterator[CostCard]:
    with scan_with_noise(tmp_path, *request.param) as scan:
        shown = CostCard(scan, tmp_path)
        qtbot.addWidget(shown)
        shown.show()
        shown.estimate(ANSWERS)
        qtbot.waitUntil(lambda: shown.estimate_shown is not None, timeout=60_000)
        yield shown
        shown.stop()
        qtbot.waitUntil(lambda: not running_tasks(), timeout=60_000)


@pytest.mark.parametrize("card", [(700.0,)], indirect=True)
def test_a_noisy_scan_is_said_to_be_denoised_and_what_is_left_out(card: CostCard) -> None:
    text = card.text_of("noise")
    assert card.shows("noise")
    assert "The scan is denoised" in text
    assert "µm are left out" in text
    card.clear()
    assert not card.shows("noise")


@pytest.mark.parametrize("card", [(40.0,)], indirect=True)
def test_nothing_is_said_of_the_noise_of_a_clean_scan(card: CostCard) -> None:
    assert not any(map(card.shows, ("noise", "slices", "rings")))
    assert card.shows("tiles")


@pytest.mark.parametrize("card", [(40.0, 0.0, 600.0, 80)], indirect=True)
def test_rings_are_said_to_be_taken_off(card: CostCard) -> None:
    assert card.shows("rings") and not card.shows("noise") and not card.shows("slices")
    assert "taken off" in card.text_of("rings")
    card.clear()
    assert not card.shows("rings")


@pytest.mark.parametrize("card", [(40.0, 400.0)], indirect=True)
def test_slices_of_uneven_brightness_are_said_to_be_evened_out(card: CostCard) -> None:
    assert card.shows("slices") and not card.shows("noise")
    assert "evened out" in card.text_of("slices")
    card.clear()
    assert not card.shows("slices")

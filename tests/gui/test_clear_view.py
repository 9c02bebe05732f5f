"""In 3D a case is looked at from where nothing stands before what is asked about."""

from __future__ import annotations

import numpy as np
import pytest
from pytestqt.qtbot import QtBot
from viewer_samples import MemoryScan

from particleseg_app.gui.viewers import Particles3DView
from particleseg_app.gui.viewers.clear_view import (
    AZIMUTHS,
    ELEVATIONS,
    USUAL,
    clearest_direction,
    towards_viewer,
)
from particleseg_app.gui.viewers.opengl import find_opengl

MIDDLE = np.array([30.0, 30.0, 30.0])
ASKED, OTHER = 3, 7


def balls(*others: tuple[float, float, float], edge: int = 60, radius: float = 9) -> np.ndarray:
    """A ball in the middle, and larger ones that far (x, y, z) from it."""
    z, y, x = np.indices((edge, edge, edge)) + 0.5
    labels = np.zeros((edge, edge, edge), np.uint32)
    for offset, label, size in [((0, 0, 0), ASKED, radius), *((o, OTHER, 13) for o in others)]:
        centre = MIDDLE * edge / 60 + np.array(offset)
        inside = (x - centre[0]) ** 2 + (y - centre[1]) ** 2 + (z - centre[2]) ** 2 < size**2
        labels[inside & (labels == 0)] = label
    return labels


def before_it(direction: tuple[float, float]) -> tuple[float, float, float]:
    x, y, z = 20 * towards_viewer(direction)
    return float(x), float(y), float(z)


def test_one_looks_from_the_usual_side_where_nothing_is_in_the_way() -> None:
    assert clearest_direction(balls(), [ASKED]) == USUAL
    assert clearest_direction(balls(before_it((USUAL[0] + 180, 0.0))), [ASKED]) == USUAL
    assert clearest_direction(np.zeros((8, 8, 8), np.uint32), [ASKED]) == USUAL
    assert clearest_direction(balls(before_it(USUAL)), []) == USUAL


@pytest.mark.parametrize("edge", [60, 130])
def test_one_looks_past_what_stands_before_it(edge: int) -> None:
    found = clearest_direction(balls(before_it(USUAL), edge=edge), [ASKED])
    assert found != USUAL
    # Nothing of the other ball is on the way to the viewer.
    assert towards_viewer(found) @ towards_viewer(USUAL) < 0.75


def test_all_sides_but_one_closed() -> None:
    free = (AZIMUTHS[3], ELEVATIONS[0])
    around = [before_it((a, e)) for a in AZIMUTHS for e in ELEVATIONS if a != free[0]]
    assert clearest_direction(balls(*around), [ASKED])[0] == free[0]


def test_the_view_looks_from_there_and_comes_back_to_it(qtbot: QtBot) -> None:
    if find_opengl() is None:
        pytest.skip("no OpenGL on this platform: the 3D view cannot be drawn")
    view = Particles3DView()
    qtbot.addWidget(view)
    view.look_from((70.0, 62.0))
    view.set_scan(MemoryScan(np.zeros((20, 30, 40), np.uint16)))
    view.resize(300, 250)
    view.show()
    qtbot.waitUntil(lambda: view.ready, timeout=20_000)
    camera = view._scene.camera
    for direction in [(70.0, 62.0), (-120.0, 10.0)]:
        view.look_from(direction)
        np.testing.assert_allclose(camera.axes()[0], towards_viewer(direction), atol=1e-6)
    camera.turntable.azimuth = 5.0
    view.reset_view()
    np.testing.assert_allclose(camera.axes()[0], towards_viewer((-120.0, 10.0)), atol=1e-6)
    view.stop()

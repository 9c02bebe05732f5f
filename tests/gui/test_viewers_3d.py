"""The 3D view: surfaces of particles, picking, and calm behaviour without OpenGL."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import numpy as np
import pytest
from PySide6.QtCore import QPoint, QPointF, Qt
from PySide6.QtGui import QColor, QMouseEvent
from PySide6.QtWidgets import QApplication, QLabel, QWidget
from pytestqt.qtbot import QtBot
from viewer_samples import MemoryLabels, MemoryScan

from particleseg_app.gui.viewers import Particles3DView, colour_of
from particleseg_app.gui.viewers.label_look import (
    ColourKey,
    LabelColouring,
    LabelLook,
    LabelVisibility,
)
from particleseg_app.gui.viewers.opengl import find_opengl
from particleseg_app.gui.viewers.particle_picking import first_hit_on_ray
from particleseg_app.gui.viewers.particle_surfaces import (
    count_surface_faces,
    particle_surfaces,
    surfaces_of_label,
)
from particleseg_app.gui.viewers.particles_3d import NOT_AVAILABLE
from particleseg_app.gui.viewers.scene_loader import DrawingBudget, particle_scene
from particleseg_app.gui.viewers.volume_preview import (
    preview_step,
    read_grey_preview,
    read_labels_preview,
)
from particleseg_app.progress import CancelToken


@pytest.fixture
def opengl(qtbot: QtBot) -> None:
    if find_opengl() is None:
        pytest.skip("no OpenGL on this platform: the 3D view cannot be drawn")


def ball(shape: tuple[int, int, int], centre: tuple[float, ...], radius: float) -> np.ndarray:
    z, y, x = np.indices(shape) + 0.5
    distance = (z - centre[0]) ** 2 + (y - centre[1]) ** 2 + (x - centre[2]) ** 2
    return distance < radius**2


def two_balls() -> np.ndarray:
    labels = np.zeros((40, 50, 60), np.uint32)
    labels[ball(labels.shape, (20, 25, 16), 12)] = 5
    labels[ball(labels.shape, (20, 25, 44), 12)] = 900
    return labels


def test_surfaces_are_closed_smooth_and_face_outwards() -> None:
    surfaces = particle_surfaces(two_balls(), 2.0)
    assert set(np.unique(surfaces.labels)) == {5, 900}
    for label, middle in ((5, 16.0), (900, 44.0)):
        part = surfaces_of_label(surfaces, label)
        assert part is not None
        away = part.vertices - 2 * np.array([middle, 25.0, 20.0])
        radius = np.linalg.norm(away, axis=1)
        assert radius.mean() == pytest.approx(24, rel=0.02)
        assert radius.std() < 0.6  # a staircase of voxels would scatter by more than one
        outward = (part.normals * away).sum(axis=1) / radius
        assert outward.min() > 0.8
        a, b, c = (part.vertices[part.triangles[:, k]] for k in range(3))
        volume = np.einsum("ij,ij->i", a, np.cross(b, c)).sum() / 6
        assert volume == pytest.approx(8 * np.count_nonzero(two_balls() == label), rel=0.02)
        edges = np.sort(part.triangles[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1)
        _, uses = np.unique(edges, axis=0, return_counts=True)
        assert (uses == 2).all()


def test_touching_particles_and_the_rim_of_the_scan() -> None:
    labels = np.ones((6, 6, 8), np.uint32)
    labels[:, :, 4:] = 2
    surfaces = particle_surfaces(labels, 1.0)
    assert len(surfaces.triangles) == 2 * count_surface_faces(labels)
    own = surfaces.labels[surfaces.triangles]
    assert (own == own[:, :1]).all()  # no triangle belongs to two particles
    assert set(np.unique(surfaces.labels)) == {1, 2}


def test_no_particles_is_no_surface() -> None:
    assert not len(particle_surfaces(np.zeros((5, 5, 5), np.uint32), 1.0).triangles)


def test_previews_are_small_copies() -> None:
    random = np.random.default_rng(0)
    labels = MemoryLabels(random.integers(0, 9, (130, 70, 65)))
    step = preview_step(labels.shape, 40**3)
    assert step == 3
    small = read_labels_preview(labels, step, CancelToken())
    assert small.shape == (44, 24, 22)
    np.testing.assert_array_equal(
        small[:-1, :-1, :-1], labels.values[1::3, 1::3, 1::3][:43, :23, :21]
    )
    scan = MemoryScan(random.integers(0, 1000, (130, 70, 65)).astype(np.uint16))
    grey = read_grey_preview(scan, 5, 0, 1000, CancelToken())
    assert grey.shape == (26, 14, 13)
    assert grey[3, 4, 5] == pytest.approx(
        scan.values[15:20, 20:25, 25:30].mean() * 255 / 1000, abs=1
    )


def test_surfaces_keep_within_the_budget() -> None:
    labels = MemoryLabels(two_balls())
    all_triangles = 2 * count_surface_faces(labels.values)
    budget = DrawingBudget(all_triangles // 3, all_triangles // 10, 1000)
    scene = particle_scene(labels, budget, CancelToken())
    assert len(scene.surfaces.triangles) < 1.3 * budget.triangles
    assert scene.coarse is not None
    assert len(scene.coarse.triangles) < 1.4 * budget.triangles_in_motion
    # The coarser surface is at the same place.
    np.testing.assert_allclose(
        scene.surfaces.vertices.mean(axis=0), scene.coarse.vertices.mean(axis=0), atol=1.5
    )


def test_the_first_particle_on_a_ray_is_picked() -> None:
    labels = two_balls()
    middle = np.array([0.0, 25.0, 20.0])
    along = np.array([1.0, 0.0, 0.0])
    assert first_hit_on_ray(labels, 1.0, middle - 30 * along, along)[0] == 5
    assert first_hit_on_ray(labels, 1.0, middle + 100 * along, -along)[0] == 900
    assert first_hit_on_ray(labels, 1.0, np.array([-9.0, 2.0, 2.0]), along)[0] == 0
    assert first_hit_on_ray(labels, 1.0, np.array([200.0, 2.0, 2.0]), along)[0] == 0


def test_without_opengl_the_view_says_so(qtbot: QtBot, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PARTICLESEG_NO_3D", "1")
    find_opengl.cache_clear()
    try:
        view = Particles3DView()
        qtbot.addWidget(view)
        view.resize(400, 300)
        view.show()
        view.set_scan(MemoryScan(np.zeros((9, 9, 9), np.uint8)), 5.0)
        view.set_labels(MemoryLabels(np.ones((9, 9, 9))))
        view.select_label(1)
        view.set_mode("both")
        assert not view.available
        assert NOT_AVAILABLE in [label.text() for label in view.findChildren(QLabel)]
        view.stop()
    finally:
        monkeypatch.undo()
        find_opengl.cache_clear()


@pytest.fixture
def shown(qtbot: QtBot, opengl: None) -> Iterator[Particles3DView]:
    view = Particles3DView()
    qtbot.addWidget(view)
    view.resize(520, 420)
    view.show()
    qtbot.waitExposed(view)
    labels = two_balls()
    view.set_scan(MemoryScan(np.where(labels > 0, 200, 20).astype(np.uint8)), 10.0)
    view.set_labels(MemoryLabels(labels))
    qtbot.waitUntil(lambda: view.ready, timeout=20_000)
    yield view
    view.stop()


def pixel_of(view: Particles3DView, x: float, y: float, z: float) -> QPoint:
    assert view._scene is not None
    column, row = view._scene.camera.project(np.array([[x, y, z]]))[0]
    return QPoint(round(column), round(row))


def colour_at(view: Particles3DView, pixel: QPoint) -> QColor:
    assert view._scene is not None
    image = view._scene.canvas.render()
    ratio = image.shape[1] / view._scene.canvas.native.width()
    red, green, blue = image[round(pixel.y() * ratio), round(pixel.x() * ratio)][:3]
    return QColor(int(red), int(green), int(blue))


def test_particles_have_the_colours_of_the_slices(shown: Particles3DView) -> None:
    for label, x in ((5, 16.0), (900, 44.0)):
        seen = colour_at(shown, pixel_of(shown, x, 25, 20))
        wanted = QColor(*colour_of(label))
        assert abs(seen.hueF() - wanted.hueF()) < 0.06
    assert "600 µm" in " ".join(label.text() for label in shown.findChildren(QLabel))


def test_a_click_selects_a_particle(qtbot: QtBot, shown: Particles3DView) -> None:
    assert shown._scene is not None
    native = shown._scene.canvas.native
    before = colour_at(shown, pixel_of(shown, 16, 25, 20))
    with qtbot.waitSignal(shown.label_clicked) as clicked:
        qtbot.mouseClick(native, Qt.MouseButton.LeftButton, pos=pixel_of(shown, 44, 25, 20))
    assert clicked.args == [900]
    after = colour_at(shown, pixel_of(shown, 16, 25, 20))
    assert after.value() < before.value()  # the others step back
    with qtbot.waitSignal(shown.label_clicked) as clicked:
        qtbot.mouseClick(native, Qt.MouseButton.LeftButton, pos=QPoint(3, 3))
    assert clicked.args == [0]


def test_colours_that_tell_something_stay_when_a_particle_is_chosen(
    shown: Particles3DView,
) -> None:
    labels = np.array([5, 900])
    key = ColourKey("Main phase", (("Quartz", (220, 160, 40)), ("Pyrite", (60, 120, 220))))
    place = pixel_of(shown, 16, 25, 20)
    for colouring in (
        LabelColouring.by_value(labels, np.array([1.0, 2.0]), "Volume"),
        LabelColouring.by_class(labels, np.array([0, 1]), key),
    ):
        shown.select_label(None)
        shown.set_look(LabelLook(colouring, LabelVisibility.all()))
        before = colour_at(shown, place).getRgb()
        shown.select_label(900)
        assert colour_at(shown, place).getRgb() == before
    shown._place_texts()
    assert not ring_of(shown).isHidden()  # however large the particle is
    shown.set_look(LabelLook.plain())
    shown.select_label(900)
    after = colour_at(shown, place).value()
    shown.select_label(None)
    assert after < colour_at(shown, place).value()


def ring_of(view: Particles3DView) -> QWidget:
    return view._stage._texts._ring


def test_the_ring_goes_where_the_cut_takes_the_particle(shown: Particles3DView) -> None:
    assert shown._scene is not None
    shown.set_look(
        LabelLook(
            LabelColouring.by_value(np.array([5, 900]), np.array([1.0, 2.0]), "Volume"),
            LabelVisibility.all(),
        )
    )
    shown.select_label(900)  # from x = 32 to 56
    whole = shown._scene.selected_circle()
    assert whole is not None
    for place, beyond, seen in ((20, True, False), (20, False, True), (58, False, False)):
        shown._scene.set_clip(2, place, beyond)
        shown._place_texts()
        assert (shown._scene.selected_circle() is not None) == seen
        assert ring_of(shown).isHidden() == (not seen)
    shown._scene.set_clip(2, 44, False)  # half of it is left
    half = shown._scene.selected_circle()
    assert half is not None and half[2] < whole[2]


def drag(qtbot: QtBot, view: Particles3DView, start: QPoint, end: QPoint) -> None:
    assert view._scene is not None
    native = view._scene.canvas.native
    qtbot.mousePress(native, Qt.MouseButton.LeftButton, pos=start)
    for share in (0.3, 0.6, 1.0):
        qtbot.wait(40)  # vispy leaves out moves that follow each other very quickly
        at = start + (end - start) * share
        event = QMouseEvent(
            QMouseEvent.Type.MouseMove,
            QPointF(at),
            QPointF(native.mapToGlobal(at)),
            Qt.MouseButton.NoButton,
            Qt.MouseButton.LeftButton,
            Qt.KeyboardModifier.NoModifier,
        )
        QApplication.sendEvent(native, event)
    qtbot.mouseRelease(native, Qt.MouseButton.LeftButton, pos=end)


def nearest_corner(view: Particles3DView) -> np.ndarray:
    assert view._scene is not None
    _, forward = view._scene.camera.ray((260, 190))
    corners = np.array([(x, y, z) for x in (0, 60) for y in (0, 50) for z in (0, 40)], float)
    return corners[np.argmin(corners @ forward)]


def test_dragging_turns_and_reset_turns_back(qtbot: QtBot, shown: Particles3DView) -> None:
    corner = nearest_corner(shown)
    place = pixel_of(shown, *corner)
    with qtbot.assertNotEmitted(shown.label_clicked):
        drag(qtbot, shown, QPoint(200, 150), QPoint(230, 150))
        turned = pixel_of(shown, *corner)
        assert turned.x() > place.x() + 8  # what is in front follows the mouse
        drag(qtbot, shown, QPoint(200, 150), QPoint(206, 150))
        assert abs(pixel_of(shown, *corner).x() - turned.x()) < 15  # no jump at a second drag
    shown.reset_view()
    assert (pixel_of(shown, *corner) - place).manhattanLength() <= 2


def test_up_in_the_slices_is_up_in_3d(shown: Particles3DView) -> None:
    assert pixel_of(shown, 30, 25, 0).y() < pixel_of(shown, 30, 25, 40).y()


def test_the_scan_can_be_shown_instead(qtbot: QtBot, shown: Particles3DView) -> None:
    shown.set_mode("scan")
    qtbot.waitUntil(lambda: shown.ready, timeout=20_000)
    seen = colour_at(shown, pixel_of(shown, 16, 25, 20))
    assert seen.saturation() < 40 and seen.value() > 60
    shown.set_window(190, 255)
    shown.set_mode("both")
    seen = colour_at(shown, pixel_of(shown, 16, 25, 20))
    assert seen.saturation() > 40


def test_another_scan_replaces_the_first(qtbot: QtBot, shown: Particles3DView) -> None:
    shown.set_scan(MemoryScan(np.zeros((20, 20, 20), np.uint8)), None)
    qtbot.waitUntil(lambda: shown.ready, timeout=20_000)
    assert "20 voxels" in " ".join(label.text() for label in shown.findChildren(QLabel))
    shown.clear()


def test_reading_happens_in_the_background_and_ends(qtbot: QtBot, shown: Particles3DView) -> None:
    labels = MemoryLabels(two_balls())
    shown.set_labels(labels)
    qtbot.waitUntil(lambda: shown.ready, timeout=20_000)
    assert labels.reading_threads
    assert threading.get_ident() not in labels.reading_threads
    shown.stop()
    assert not [t for t in threading.enumerate() if t.name.startswith("3D view")]

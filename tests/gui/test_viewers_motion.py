"""The 3D view while it moves: only what is in front is drawn, as finely as keeps it fluid."""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np
import pytest
from PySide6.QtCore import QPoint, QPointF, Qt
from PySide6.QtGui import QImage, QWheelEvent
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot
from viewer_samples import MemoryLabels, MemoryScan, cut_open

from particleseg_app.gui.viewers import Particles3DView, particles_3d
from particleseg_app.gui.viewers.drawing_pace import FULL, DrawingPace, Fineness
from particleseg_app.gui.viewers.ellipsoids import Ellipsoids
from particleseg_app.gui.viewers.front_ellipsoids import (
    DRAWN_OTHERWISE,
    HIDDEN,
    SHOWN,
    FrontEllipsoids,
    compile_search,
)
from particleseg_app.gui.viewers.label_look import LabelColouring, LabelLook, LabelVisibility
from particleseg_app.gui.viewers.opengl import OpenGL, find_opengl
from particleseg_app.gui.viewers.particle_scene import DrawingBudget

NO_CLIP = (0.0, 0.0, 0.0, 1.0)
SIZE = (150, 110)
RIGHT, UP = np.array([1.0, 0.0, 0.0]), np.array([0.0, 1.0, 0.0])


# --- the search for what is in front -----------------------------------------------------------


def crowd_before_a_camera(seed: int, count: int = 400) -> Ellipsoids:
    """Ellipsoids of any form that fill a cube of 100 voxels, looked at along -z."""
    random = np.random.default_rng(seed)
    shapes = random.normal(size=(count, 3, 3)) * random.uniform(1.0, 3.0, (count, 1, 1))
    forms = shapes @ shapes.transpose(0, 2, 1) + 0.3 * np.eye(3)
    upper = forms[:, [0, 0, 0, 1, 1, 2], [0, 1, 2, 1, 2, 2]]
    return Ellipsoids(
        labels=np.arange(1, count + 1, dtype=np.uint32),
        centres=random.uniform(0, 100, (count, 3)).astype(np.float32),
        forms=upper.astype(np.float32),
        boxes=np.zeros((count, 6), np.int64),
    )


def camera(distance: float) -> np.ndarray:
    """Matrix for rows (x, y, z, 1): a viewer above the middle of the cube, looking down z."""
    near, far = 1.0, 1000.0
    matrix = np.zeros((4, 4))
    matrix[0, 0], matrix[1, 1] = 2.0, 2.0 * SIZE[0] / SIZE[1]
    matrix[2, 2], matrix[2, 3] = -(far + near) / (far - near), -1.0
    matrix[3, 2] = -2 * far * near / (far - near)
    place = np.eye(4)
    place[3, :3] = (-50, -50, -(100 + distance))
    return place @ matrix


def owners(particles: Ellipsoids, matrix: np.ndarray, states: np.ndarray) -> np.ndarray:
    """The row that each dot of the picture shows, -1 for none: everything is painted."""
    width, height = SIZE
    nearest = np.full((height, width), np.inf)
    owner = np.full((height, width), -1)
    x, y = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    for row in np.flatnonzero(states != HIDDEN):
        clip = np.append(particles.centres[row].astype(float), 1.0) @ matrix
        if (np.abs(clip[:3]) > clip[3]).any():
            continue
        pixels = np.array([matrix[0, 0] * width, matrix[1, 1] * height]) / 2 / clip[3]
        xx, xy, _, yy = particles.forms[row, :4].astype(float)
        form = np.array([[xx, xy], [xy, yy]]) * np.outer(pixels, pixels)
        u = x - (1 + clip[0] / clip[3]) * width / 2
        v = (1 - clip[1] / clip[3]) * height / 2 - y
        a, b, _, c = np.linalg.inv(form).ravel()
        covers = (a * u * u + 2 * b * u * v + c * v * v < 1) & (clip[3] < nearest)
        nearest[covers], owner[covers] = clip[3], row
    return owner


@pytest.mark.parametrize("distance", [180.0, 60.0, -40.0])
@pytest.mark.parametrize("seed", range(4))
def test_whatever_can_be_seen_is_found(seed: int, distance: float) -> None:
    compile_search()
    particles = crowd_before_a_camera(seed)
    random = np.random.default_rng(seed)
    states = random.choice([HIDDEN, SHOWN, SHOWN, SHOWN], len(particles.labels)).astype(np.uint8)
    search = FrontEllipsoids(particles)
    # An order for another viewpoint finds more, but never less.
    for order in (np.argsort(-particles.centres[:, 2]), random.permutation(len(states))):
        search.sort(order.astype(np.uint32))
        found = search.find(states, NO_CLIP, camera(distance), RIGHT, UP, SIZE)
        assert found is not None
        seen = np.unique(owners(particles, camera(distance), states))
        assert set(seen[seen >= 0].tolist()) <= set(found.tolist())
        assert (states[found] == SHOWN).all()


def test_what_is_behind_others_is_left_away() -> None:
    compile_search()
    layers = np.array(
        [(x, y, z) for z in (90, 50, 10) for x in range(2, 100, 4) for y in range(2, 100, 4)],
        np.float32,
    )
    count = len(layers)
    flat = np.tile(np.array([16.0, 0, 0, 16.0, 0, 9.0], np.float32), (count, 1))
    particles = Ellipsoids(
        np.arange(1, count + 1, dtype=np.uint32), layers, flat, np.zeros((count, 6), np.int64)
    )
    search = FrontEllipsoids(particles)
    shown = np.full(count, SHOWN, np.uint8)
    front = count // 3
    found = search.find(shown, NO_CLIP, camera(160.0), RIGHT, UP, SIZE)
    assert found is not None
    behind = np.setdiff1d(np.arange(front, count), found)
    assert set(range(front)) <= set(found.tolist()) and len(behind) > 0.8 * 2 * front
    # With the front cut away, or hidden, the next layer is seen.
    cut = search.find(shown, (0.0, 0.0, -1.0, 70.0), camera(160.0), RIGHT, UP, SIZE)
    assert cut is not None and cut.min() == front and set(range(front, 2 * front)) <= set(cut)
    shown[:front] = DRAWN_OTHERWISE
    rest = search.find(shown, NO_CLIP, camera(160.0), RIGHT, UP, SIZE)
    assert rest is not None and set(rest.tolist()) == set(found[found >= front].tolist())


# --- how finely to draw ------------------------------------------------------------------------

LEVELS = (FULL, Fineness(0.8), Fineness(0.65), Fineness(0.5))


def frames(pace: DrawingPace, beside: float, dots: float, count: int = 12) -> list[Fineness]:
    """Frames that take `beside` seconds for anything and `dots` for all dots at full fineness."""
    result = []
    for _ in range(count):
        waited = dots * pace.fineness.work / FULL.work
        result.append(pace.take(beside + waited, waited))
    return result


def test_a_fast_machine_draws_at_full_quality() -> None:
    pace = DrawingPace(LEVELS, frame_seconds=0.05)
    assert pace.begin() == FULL
    assert set(frames(pace, 0.01, 0.02)) == {FULL}


def test_a_slow_machine_draws_as_finely_as_it_can_in_time() -> None:
    pace = DrawingPace(LEVELS, frame_seconds=0.05)
    pace.begin()
    drawn = frames(pace, 0.01, 0.08)
    assert drawn[-1] == Fineness(0.65)  # 0.8 would take 0.061 s
    sizes = [fineness.picture for fineness in drawn]
    assert sizes == sorted(sizes, reverse=True)  # never back and forth
    assert pace.begin() == Fineness(0.65)


def test_fewer_dots_are_not_drawn_where_they_do_not_help() -> None:
    pace = DrawingPace(LEVELS, frame_seconds=0.05)
    pace.begin()
    assert frames(pace, 0.2, 0.01)[-1] == FULL


def test_the_next_time_it_is_finer_if_there_is_time_for_it() -> None:
    pace = DrawingPace(LEVELS, first=3, frame_seconds=0.05)
    assert pace.begin() == LEVELS[3]
    assert frames(pace, 0.001, 0.02)[-1] == LEVELS[3]
    assert pace.begin() == FULL


# --- on the screen -----------------------------------------------------------------------------


def balls() -> np.ndarray:
    """7³ balls, labels (z, y, x)."""
    place = np.arange(84)
    inside = ((place % 12 - 5.5) ** 2)[:, None, None] + ((place % 12 - 5.5) ** 2)[:, None]
    inside = inside + (place % 12 - 5.5) ** 2 < 26
    cell = place // 12
    number = (cell[:, None, None] * 7 + cell[:, None]) * 7 + cell + 1
    return np.where(inside, number, 0).astype(np.uint32)


CROWD = DrawingBudget(4_000, 1_000, 64**3)


def view_of_balls(qtbot: QtBot, monkeypatch: pytest.MonkeyPatch) -> Particles3DView:
    monkeypatch.setattr(particles_3d, "SOFTWARE", CROWD)
    monkeypatch.setattr(particles_3d, "HARDWARE", CROWD)
    view = Particles3DView()
    qtbot.addWidget(view)
    view.resize(480, 400)
    view.show()
    qtbot.waitExposed(view)
    labels = balls()
    view.set_scan(MemoryScan(np.where(labels > 0, 200, 20).astype(np.uint8)), 10.0)
    view.set_labels(MemoryLabels(labels))
    qtbot.waitUntil(lambda: view.ready and view.still, timeout=20_000)
    assert view._preparation.crowded
    return view


@pytest.fixture
def view(qtbot: QtBot, monkeypatch: pytest.MonkeyPatch) -> Iterator[Particles3DView]:
    if find_opengl() is None:
        pytest.skip("no OpenGL on this platform: the 3D view cannot be drawn")
    compile_search()
    view = view_of_balls(qtbot, monkeypatch)
    yield view
    view.stop()


def dots(image: QImage) -> np.ndarray:
    """Colours (rows, columns, 3) of an image."""
    image = image.convertToFormat(QImage.Format.Format_RGB888)
    data = np.frombuffer(image.constBits(), np.uint8)
    rows = data.reshape(image.height(), image.bytesPerLine())[:, : 3 * image.width()]
    return rows.reshape(image.height(), image.width(), 3).astype(int)


def picture(view: Particles3DView) -> np.ndarray:
    assert view._scene is not None
    return dots(view._scene.picture())


def test_the_picture_is_the_same_as_with_everything_drawn(
    qtbot: QtBot, view: Particles3DView
) -> None:
    assert view._scene is not None
    scene, turntable = view._scene, view._scene.camera.turntable
    node = scene.particles._ellipsoids
    assert node is not None
    if node._front is None:
        pytest.skip("a graphics card draws everything")
    by_particle = LabelColouring.by_particle()
    looks = [
        LabelLook.plain(),
        LabelLook(by_particle, LabelVisibility((), np.arange(1, 344, 3))),
    ]
    fewer = 0
    for azimuth, share, look, cut in (
        (-38, 1.0, looks[0], None),
        (70, 1.0, looks[1], None),
        (150, 0.5, looks[0], 2),
        (10, 0.2, looks[1], 0),
    ):
        view.set_look(look)
        qtbot.waitUntil(view.cut.isEnabled, timeout=20_000)
        if cut is not None:
            cut_open(view, cut)
        view.reset_view()
        turntable.azimuth = azimuth
        turntable.scale_factor *= share
        qtbot.waitUntil(lambda: view.ready and view.still, timeout=20_000)
        for moving in (True, False):
            scene.set_motion(moving)
            quick = picture(view)
            front, node._front = node._front, None
            fewer += node._index_buffer.size < 343
            node._index_buffer.set_data(np.arange(343, dtype=np.uint32))
            whole = picture(view)
            node._front = front
            np.testing.assert_array_equal(quick, whole)
    assert fewer > 3


def test_with_a_graphics_card_it_looks_the_same(
    qtbot: QtBot, monkeypatch: pytest.MonkeyPatch, view: Particles3DView
) -> None:
    opengl = find_opengl()
    assert opengl is not None
    monkeypatch.setattr(particles_3d, "find_opengl", lambda: OpenGL(opengl.renderer, False))
    card = view_of_balls(qtbot, monkeypatch)
    try:
        for mode in ("particles", "scan", "both"):
            pictures = []
            for each in (view, card):
                each.set_mode(mode)
                qtbot.waitUntil(lambda each=each: each.ready and each.still, timeout=20_000)
                pictures.append(picture(each))
            assert pictures[0].shape == pictures[1].shape
            assert (np.abs(pictures[0] - pictures[1]).max(axis=2) > 3).mean() < 0.002
    finally:
        card.stop()


def test_the_scan_is_as_bright_however_coarsely_it_is_drawn(
    qtbot: QtBot, view: Particles3DView
) -> None:
    assert view._scene is not None
    for mode in ("scan", "both"):
        view.set_mode(mode)
        qtbot.waitUntil(lambda: view.ready and view.still, timeout=20_000)
        at_rest = picture(view)
        scan = view._scene._scan
        density = scan._density
        for step, scale in ((0.9, 0.7), (1.6, 0.5), (2.0, 0.33)):
            scan.set_fineness(step, scale, density)
            coarse = picture(view)
            assert coarse.mean() == pytest.approx(at_rest.mean(), rel=0.02)
            assert np.abs(coarse - at_rest).mean() < 6
        view._scene.refresh()


def test_slow_frames_have_fewer_dots_until_it_stands_still(
    qtbot: QtBot, monkeypatch: pytest.MonkeyPatch, view: Particles3DView
) -> None:
    scene = view._scene
    assert scene is not None
    if not scene._software:
        pytest.skip("a graphics card draws straight to the screen")
    at_rest = picture(view)
    slow = DrawingPace((FULL, Fineness(0.5)), frame_seconds=0.05)
    take = slow.take
    monkeypatch.setattr(slow, "take", lambda _seconds, _waited: take(0.2, 0.2))
    monkeypatch.setitem(scene._paces, (True, False), slow)
    view._moving(True)
    place = scene.camera.project(np.array([[42.0, 42.0, 42.0]]))[0]

    def coarser() -> bool:
        view._moving(True)
        scene.canvas.update()
        return bool(scene.canvas.native.picture.width() < 300)

    qtbot.waitUntil(coarser, timeout=20_000)
    in_motion = picture(view)
    assert in_motion.shape[0] == pytest.approx(at_rest.shape[0] / 2, abs=1)
    # It is the same view, and clicks and texts find their places as before.
    smaller = at_rest[: 2 * in_motion.shape[0], : 2 * in_motion.shape[1]]
    rows, columns = smaller.shape[0] // 2, smaller.shape[1] // 2
    means = smaller[: 2 * rows, : 2 * columns].reshape(rows, 2, columns, 2, 3).mean(axis=(1, 3))
    assert np.abs(means - in_motion[:rows, :columns]).mean() < 4
    np.testing.assert_allclose(scene.camera.project(np.array([[42.0, 42.0, 42.0]]))[0], place)
    assert view._hit_under((float(place[0]), float(place[1])))[0] > 0
    qtbot.waitUntil(lambda: view.ready and view.still, timeout=20_000)
    np.testing.assert_array_equal(picture(view), at_rest)


def test_motion_does_not_end_because_a_frame_takes_long(
    qtbot: QtBot, view: Particles3DView
) -> None:
    scene = view._scene
    assert scene is not None
    view._motion_end.setTimerType(Qt.TimerType.PreciseTimer)
    view._motion_end.setInterval(60_000)
    view._moving(True)
    time.sleep(0.3)  # nothing is drawn meanwhile
    before = view._motion_end.remainingTime()
    scene.picture()
    assert view._motion_end.remainingTime() > before
    assert scene._in_motion and not view.still


def test_the_wheel_zooms_and_is_motion(qtbot: QtBot, view: Particles3DView) -> None:
    scene = view._scene
    assert scene is not None
    native = scene.canvas.native
    before = scene.camera.turntable.scale_factor
    drawn: list[int] = []
    scene.canvas.events.draw.connect(lambda _event: drawn.append(1))
    middle = QPointF(native.width() / 2, native.height() / 2)
    QApplication.sendEvent(
        native,
        QWheelEvent(
            middle,
            QPointF(native.mapToGlobal(middle)),
            QPoint(),
            QPoint(0, 120),
            Qt.MouseButton.NoButton,
            Qt.KeyboardModifier.NoModifier,
            Qt.ScrollPhase.NoScrollPhase,
            False,
        ),
    )
    assert scene.camera.turntable.scale_factor < before
    assert not view.still
    assert not drawn  # one frame is drawn for all turns of the wheel until then
    qtbot.waitUntil(lambda: bool(drawn), timeout=20_000)
    qtbot.waitUntil(lambda: view.ready and view.still, timeout=20_000)


def test_a_larger_view_is_filled(qtbot: QtBot, view: Particles3DView) -> None:
    assert view._scene is not None
    view.resize(700, 520)
    qtbot.waitUntil(lambda: view.ready and view.still, timeout=20_000)
    native = view._scene.canvas.native
    shown = dots(native.grab().toImage())
    assert shown.shape[:2] == (native.height(), native.width())
    np.testing.assert_array_equal(picture(view), shown)

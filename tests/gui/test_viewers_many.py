"""Views for many particles: colours by value, hiding, the cut, what is seen, and mends."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PySide6.QtGui import QColor
from PySide6.QtWidgets import QWidget
from pytestqt.qtbot import QtBot
from viewer_samples import MemoryLabels, MemoryScan, cut_open

from particleseg_app.gui.viewers import Particles3DView
from particleseg_app.gui.viewers.appearance import (
    BY_PHASE,
    BY_SCORE,
    ParticleAppearance,
    expected_errors,
)
from particleseg_app.gui.viewers.appearance_bar import AppearanceBar
from particleseg_app.gui.viewers.ellipsoids import ellipsoids
from particleseg_app.gui.viewers.label_colours import PALETTE_SIZE
from particleseg_app.gui.viewers.label_look import (
    NO_VALUE_COLOUR,
    ColourScale,
    LabelColouring,
    LabelLook,
    LabelVisibility,
    colour_scale,
)
from particleseg_app.gui.viewers.opengl import find_opengl
from particleseg_app.gui.viewers.particle_scene import (
    DrawingBudget,
    ParticleScene,
    mended_scene,
    particle_scene,
)
from particleseg_app.gui.viewers.seen_particles import Viewpoint, seen_labels, seen_surfaces
from particleseg_app.gui.viewers.slice_picture import SliceRequest, make_picture
from particleseg_app.gui.viewers.touching import touching_particles
from particleseg_app.progress import CancelToken
from particleseg_app.review.cases import ReviewCase, case_id, write_cases
from particleseg_app.units import Box

NO_CLIP = (0.0, 0.0, 0.0, 1.0)


def lightness(colours: np.ndarray) -> np.ndarray:
    """CIE lightness (n,) of sRGB colours (n, 3) uint8."""
    share = colours / 255
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    return 116 * np.cbrt(linear @ np.array([0.2126, 0.7152, 0.0722])) - 16


def colouring_of(values: list[float]) -> LabelColouring:
    labels = np.arange(1, len(values) + 1)
    return LabelColouring.by_value(labels, np.array(values), "Size", "µm")


# --- colours -----------------------------------------------------------------------------------


def test_the_colour_scale_is_even_and_never_dark() -> None:
    colours = colour_scale()
    light = lightness(colours)
    assert (np.diff(light) > -0.3).all()  # rounding to 8 bits aside, it only gets lighter
    assert light[0] > 30 and light[-1] > 85
    steps = np.diff(lightness(colour_scale(9)))
    assert steps.min() > 2
    assert len(np.unique(colours, axis=0)) > 100


def test_odd_particles_do_not_use_up_the_colours() -> None:
    values = [*np.linspace(10, 20, 98), 1e6, -1e6]
    colouring = colouring_of(values)
    assert colouring.scale is not None
    assert colouring.scale.low == pytest.approx(10, abs=0.5)
    assert colouring.scale.high == pytest.approx(20, abs=0.5)
    places = colouring.places(np.array([1, 49, 98, 99, 100], np.uint32))
    assert places[0] < places[1] < places[2] == places[3]
    assert places[4] == places[0] == 1


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.one_of(st.floats(-1e9, 1e9), st.just(float("nan"))),
        min_size=1,
        max_size=60,
    )
)
def test_larger_values_never_have_lower_places(values: list[float]) -> None:
    labels = np.arange(1, len(values) + 1, dtype=np.uint32)
    places = colouring_of(values).places(labels)
    known = np.isfinite(values)
    assert (places[~known] == PALETTE_SIZE).all()
    assert ((places[known] >= 1) & (places[known] < PALETTE_SIZE)).all()
    order = np.argsort(np.array(values)[known], kind="stable")
    assert (np.diff(places[known][order].astype(int)) >= 0).all()


def test_what_has_no_value_is_grey_and_background_stays_background() -> None:
    look = LabelLook(colouring_of([1.0, float("nan"), 3.0]), LabelVisibility.all())
    tints = look.tints(np.array([2, 4_000_000_000], np.uint32))
    np.testing.assert_allclose(tints[:, :3] * 255, [NO_VALUE_COLOUR] * 2, atol=1e-3)
    assert look.colouring.places(np.array([0], np.uint32)).tolist() == [0]


@pytest.mark.parametrize(
    ("low", "high", "texts"),
    [
        (54.81, 256.3, ("55", "256")),
        (0.6481, 0.9, ("0.648", "0.900")),
        (1200.0, 45_321.0, ("1\u202f200", "45\u202f321")),
        (1.549e6, 2.5e7, ("1\u202f550\u202f000", "25\u202f000\u202f000")),
        (0.0, 0.0, ("0", "0")),
    ],
)
def test_ends_of_the_scale_have_the_digits_that_matter(
    low: float, high: float, texts: tuple[str, str]
) -> None:
    assert ColourScale("Size", "µm", low, high).end_texts() == texts


# --- hiding ------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(1, 40)), st.lists(st.integers(1, 40)), st.booleans(), st.integers(0, 60)
)
def test_a_particle_is_hidden_if_and_only_if_it_was_said(
    shown: list[int], hidden: list[int], others: bool, label: int
) -> None:
    visibility = LabelVisibility(shown, hidden, others=others)
    wanted = label == 0 or (label not in hidden and (label in shown or others))
    assert visibility.shows_label(label) == wanted
    labels = np.array([label], np.uint32)
    assert visibility.only_shown(labels).tolist() == [label if wanted else 0]


def test_hidden_particles_and_their_rims_are_gone_from_the_slices() -> None:
    labels = np.zeros((12, 12), np.uint32)
    labels[2:6, 2:6], labels[2:6, 6:10] = 1, 2
    look = LabelLook(LabelColouring.by_particle(), LabelVisibility((), (2,)))
    request = SliceRequest(0, 0, selected=2, look=look)
    overlay = make_picture(request, np.zeros((12, 12), np.uint8), labels).overlay
    assert overlay is not None
    assert not overlay[labels != 1].any()
    assert overlay[labels == 1].all()


@pytest.fixture
def table() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "label": np.arange(1, 7),
            "equivalent_diameter_um": np.linspace(10, 60, 6),
            "box_z_min": 0,
            "touches_scan_edge": False,
        }
    )


def shown_of(appearance: ParticleAppearance) -> list[int]:
    labels = np.arange(1, 10)
    return labels[appearance.look.visibility.shows(labels)].tolist()


def test_hide_isolate_and_show_all(table: pd.DataFrame) -> None:
    appearance = ParticleAppearance()
    appearance.set_table(table)
    appearance.hide([2, 3])
    assert shown_of(appearance) == [1, 4, 5, 6, 7, 8, 9]
    assert appearance.hidden_count == 2
    appearance.isolate([3, 4])
    assert shown_of(appearance) == [3, 4]
    appearance.hide([4])
    assert shown_of(appearance) == [3]
    # A mend makes particle 7 of what is isolated: it must not vanish.
    more = pd.concat([table, table.iloc[:1].assign(label=7)], ignore_index=True)
    appearance.set_table(more, mended=True)
    assert shown_of(appearance) == [3, 7]
    appearance.show_all()
    assert appearance.hidden_count == 0 and appearance.look.visibility.everything
    appearance.set_in_table(np.array([1, 6]))
    appearance.set_only_in_table(True)
    assert shown_of(appearance) == [1, 6]
    appearance.set_in_table(np.array([1]))
    assert shown_of(appearance) == [1]
    appearance.set_table(table)
    assert appearance.hidden_count == 0


def test_only_measures_and_scores_can_be_chosen_as_colours(
    table: pd.DataFrame, tmp_path: Path
) -> None:
    appearance = ParticleAppearance()
    appearance.set_table(table)
    choices = [c.key for c in appearance.choices()]
    assert choices == ["particle", BY_PHASE, "equivalent_diameter_um"]
    with pytest.raises(ValueError, match="sphericity"):
        appearance.colour_by("sphericity")
    box = Box((0, 0, 0), (2, 2, 2))
    cases = [
        ReviewCase(case_id(kind, labels), kind, labels, p, w, {}, "", box, (1.0, 1.0, 1.0))
        for kind, labels, p, w in (
            ("merger", (1,), 0.5, 2.0),
            ("splitter", (1, 4), 0.25, 1.0),
        )
    ]
    write_cases(tmp_path / "cases.parquet", cases)
    scores = expected_errors(tmp_path / "cases.parquet")
    assert scores == {1: 1.25, 4: 0.25}
    appearance.set_scores(scores)
    appearance.colour_by(BY_SCORE)
    places = appearance.look.colouring.places(np.array([1, 4, 2], np.uint32))
    assert places[0] > places[1] > places[2] == 1
    appearance.set_scores({})
    assert appearance.coloured_by == "particle"


def test_the_bar_offers_what_can_be_done(qtbot: QtBot, table: pd.DataFrame) -> None:
    appearance, page = ParticleAppearance(), QWidget()
    qtbot.addWidget(page)
    bar = AppearanceBar(appearance, page)
    qtbot.addWidget(bar)
    appearance.set_table(table)
    assert not bar.hide_action.isEnabled() and not bar.show_all_action.isEnabled()
    bar.show_selection(3)
    assert "these 3 particles" in bar.hide_action.text()
    bar.choice.setCurrentIndex(bar.choice.findText("Equivalent diameter"))
    bar.choice.activated.emit(bar.choice.currentIndex())
    assert appearance.coloured_by == "equivalent_diameter_um"
    appearance.hide([1])
    assert bar.button.text() == "1 hidden"
    bar.show_all_action.trigger()
    assert bar.button.text() == "" and appearance.hidden_count == 0


def test_neighbours_touch_by_face_edge_or_corner_across_blocks() -> None:
    labels = np.zeros((130, 12, 12), np.uint32)
    labels[2:120, 4:8, 4:8] = 1
    labels[119:122, 8:10, 8:10] = 2  # meets 1 along an edge, in another block than it begins in
    labels[0, 0, 0] = 3
    labels[1, 3, 3] = 4  # a corner
    box = Box((2, 4, 4), (120, 8, 8))
    assert touching_particles(MemoryLabels(labels), [1], [box], CancelToken()) == {2, 4}


# --- many particles in 3D ----------------------------------------------------------------------


def grid_of_balls(count: int = 6, pitch: int = 10) -> np.ndarray:
    """A cube of `count`³ balls that do not touch, numbered along z, y, x."""
    z, y, x = np.indices((count * pitch,) * 3)
    away = sum((a % pitch - (pitch - 1) / 2) ** 2 for a in (z, y, x))
    number = (z // pitch * count + y // pitch) * count + x // pitch + 1
    return np.where(away < (0.42 * pitch) ** 2, number, 0).astype(np.uint32)


CROWD = DrawingBudget(90_000, 3_000, 1000)


def from_above(labels: np.ndarray, clip: tuple[float, float, float, float]) -> Viewpoint:
    """A parallel view down the z axis onto the whole volume."""
    z, y, x = labels.shape
    corners = np.array([(0, 0), (x, 0), (0, y), (x, y)], float)
    near = np.column_stack([corners, np.full(4, -5.0)])
    far = np.column_stack([corners, np.full(4, z + 5.0)])
    return Viewpoint(near, far, 1.0, clip, LabelVisibility.all())


def test_ellipsoids_have_place_and_size_of_their_particles() -> None:
    labels = np.zeros((40, 40, 60), np.uint32)
    z, y, x = np.indices(labels.shape) + 0.5
    labels[((z - 20) / 6) ** 2 + ((y - 18) / 9) ** 2 + ((x - 30) / 24) ** 2 < 1] = 70_000
    labels[1, 2, 3] = 5
    found = ellipsoids(labels, 2, CancelToken())
    assert found.labels.tolist() == [5, 70_000]
    np.testing.assert_allclose(found.centres[1], [60, 36, 40], atol=0.2)
    xx, xy, _, yy, _, zz = np.sqrt(np.abs(found.forms[1]))
    np.testing.assert_allclose([xx, yy, zz], [48, 18, 12], rtol=0.04)
    assert xy < 3
    assert found.boxes[0].tolist() == [1, 2, 3, 2, 3, 4]
    assert found.place_of(6) is None
    sizes = [8 * np.count_nonzero(labels == label) for label in found.labels]
    np.testing.assert_allclose(found.volumes[1], sizes[1], rtol=0.03)


def test_only_what_can_be_seen_is_seen() -> None:
    labels = grid_of_balls()
    first_layer = set(range(1, 37))
    seen = seen_labels(labels, 1, from_above(labels, NO_CLIP), CancelToken())
    assert set(seen.tolist()) == first_layer
    # With the upper half cut away the fourth layer is on top.
    cut = from_above(labels, (0.0, 0.0, 1.0, -30.0))
    assert set(seen_labels(labels, 1, cut, CancelToken()).tolist()) == {
        n + 3 * 36 for n in first_layer
    }
    hidden = Viewpoint(
        cut.near, cut.far, 1.0, NO_CLIP, LabelVisibility((), sorted(first_layer - {1}))
    )
    beneath = set(seen_labels(labels, 1, hidden, CancelToken()).tolist())
    assert beneath == {1} | {n + 36 for n in first_layer - {1}}


def test_a_crowd_is_ellipsoids_and_fine_surfaces_of_what_is_seen() -> None:
    values = grid_of_balls()
    volume = MemoryLabels(values)
    scene = particle_scene(volume, CROWD, CancelToken())
    assert scene.ellipsoids is not None and not scene.empty
    assert scene.ellipsoids.labels.tolist() == list(range(1, 217))
    view = from_above(values, NO_CLIP)
    seen = seen_surfaces(
        volume, scene.labels, scene.step, scene.ellipsoids, view, 60_000, 10**6, CancelToken()
    )
    assert seen is not None
    assert set(seen.labels.tolist()) == set(range(1, 37))
    assert 10_000 < len(seen.surfaces.triangles) < 60_000
    middle = seen.surfaces.vertices[seen.surfaces.labels == 8].mean(axis=0)
    np.testing.assert_allclose(middle, scene.ellipsoids.centres[7], atol=0.3)
    one = scene.surface_of(8)
    assert one is not None
    np.testing.assert_allclose(one.vertices.mean(axis=0), middle, atol=0.3)
    # Where only a few of them could have surfaces they all stay ellipsoids.
    few = seen_surfaces(
        volume, scene.labels, scene.step, scene.ellipsoids, view, 5_000, 10**6, CancelToken()
    )
    assert few is None


def test_what_is_near_is_read_more_finely() -> None:
    values = grid_of_balls(4, 16)
    volume = MemoryLabels(values)
    labels = values[1::4, 1::4, 1::4]
    whole = ellipsoids(labels, 4, CancelToken())
    _, y, x = np.array(values.shape) / 4
    corners = np.array([(0, 0), (x, 0), (0, y), (x, y)])
    near = np.column_stack([corners, np.full(4, -1.0)])
    view = Viewpoint(near, near + np.array([0, 0, 18.0]), 1.0, NO_CLIP, LabelVisibility.all())
    seen = seen_surfaces(
        volume,
        labels,
        4,
        whole,
        view,
        10**6,
        24**3,
        CancelToken(),
    )
    assert seen is not None and seen.labels.tolist() == [1]
    radius = np.linalg.norm(seen.surfaces.vertices - 8.0, axis=1)
    assert radius.mean() == pytest.approx(0.42 * 16, rel=0.06)
    assert radius.std() < 0.35  # of every voxel; of every fourth it would be a lump
    assert len(seen.surfaces.triangles) > 1000


def same_surfaces(one: ParticleScene, other: ParticleScene) -> None:
    for first, second in ((one.surfaces, other.surfaces), (one.coarse, other.coarse)):
        assert (first is None) == (second is None)
        if first is not None and second is not None:
            corners = [
                np.sort(
                    np.column_stack([s.labels[s.triangles[:, 0]], s.vertices[s.triangles].mean(1)]),
                    axis=0,
                )
                for s in (first, second)
            ]
            np.testing.assert_allclose(corners[0], corners[1], atol=1e-3)


@settings(max_examples=8, deadline=None)
@given(st.sampled_from(["cut", "join", "away"]), st.integers(1, 27), st.booleans())
def test_a_mended_scene_is_the_one_made_anew(mend: str, label: int, crowd: bool) -> None:
    values = grid_of_balls(3)
    budget = DrawingBudget(2_000, 500, 1000) if crowd else DrawingBudget(10**6, 9_000, 1000)
    volume = MemoryLabels(values)
    before = particle_scene(volume, budget, CancelToken())
    assert (before.ellipsoids is not None) == crowd
    own = values == label
    inside = [np.flatnonzero(own.any(axis=tuple({0, 1, 2} - {a}))) for a in range(3)]
    start, stop = tuple(int(i[0]) for i in inside), tuple(int(i[-1]) + 1 for i in inside)
    box = Box(start, stop)  # type: ignore[arg-type]
    after = values.copy()
    if mend == "cut":
        upper = own.copy()
        upper[(start[0] + stop[0]) // 2 :] = False
        after[upper] = 90
    elif mend == "join":
        after[own] = label % 27 + 1
    else:
        after[own] = 0
    mended = mended_scene(before, MemoryLabels(after), [box], budget, CancelToken())
    anew = particle_scene(MemoryLabels(after), budget, CancelToken())
    np.testing.assert_array_equal(mended.labels, after)
    if crowd:
        assert mended.ellipsoids is not None and anew.ellipsoids is not None
        for name in ("labels", "centres", "forms", "boxes"):
            np.testing.assert_allclose(
                getattr(mended.ellipsoids, name), getattr(anew.ellipsoids, name), atol=1e-3
            )
    else:
        same_surfaces(mended, anew)
    same = mended_scene(mended, MemoryLabels(after), None, budget, CancelToken())
    assert same is mended


# --- on the screen -----------------------------------------------------------------------------


@pytest.fixture
def crowd(qtbot: QtBot, monkeypatch: pytest.MonkeyPatch) -> Iterator[Particles3DView]:
    if find_opengl() is None:
        pytest.skip("no OpenGL on this platform: the 3D view cannot be drawn")
    from particleseg_app.gui.viewers import particles_3d

    monkeypatch.setattr(particles_3d, "SOFTWARE", CROWD)
    monkeypatch.setattr(particles_3d, "HARDWARE", CROWD)
    view = Particles3DView()
    qtbot.addWidget(view)
    view.resize(460, 400)
    view.show()
    qtbot.waitExposed(view)
    labels = grid_of_balls()
    view.set_scan(MemoryScan(np.where(labels > 0, 200, 20).astype(np.uint8)), 10.0)
    view.set_labels(MemoryLabels(labels))
    qtbot.waitUntil(lambda: view.ready, timeout=20_000)
    yield view
    view.stop()


def colour_of_ball(view: Particles3DView, label: int) -> QColor:
    """What the screen shows where the middle of a ball of the grid is."""
    assert view._scene is not None and view._preparation.particles is not None
    whole = view._preparation.particles.ellipsoids
    assert whole is not None
    column, row = view._scene.camera.project(whole.centres[label - 1][None])[0]
    image = view._scene.canvas.render()
    ratio = image.shape[1] / view._scene.canvas.native.width()
    red, green, blue = image[round(row * ratio), round(column * ratio)][:3]
    return QColor(int(red), int(green), int(blue))


def front_ball(view: Particles3DView) -> int:
    """The ball at the corner of the grid that is nearest to the viewer."""
    assert view._scene is not None and view._preparation.particles is not None
    whole = view._preparation.particles.ellipsoids
    assert whole is not None
    _, forward = view._scene.camera.ray((230, 200))
    return int(whole.labels[np.argmin(whole.centres @ forward)])


def test_colours_hiding_and_selection_leave_the_surfaces_alone(
    qtbot: QtBot, crowd: Particles3DView
) -> None:
    assert crowd._scene is not None
    particles = crowd._scene.particles
    front = front_ball(crowd)
    nodes = (particles._ellipsoids, particles._seen)
    assert None not in nodes
    values = np.zeros(216)
    values[front - 1] = 1.0
    by_value = LabelColouring.by_value(np.arange(1, 217), values, "Size", "µm")
    for moving in (False, True):  # surfaces at rest, ellipsoids in motion
        crowd.set_look(LabelLook(by_value, LabelVisibility.all()))
        crowd._scene.set_motion(moving)
        yellow = colour_of_ball(crowd, front)
        assert 45 < yellow.hue() < 75 and yellow.value() > 120
        crowd.select_label(front % 216 + 1)
        assert colour_of_ball(crowd, front) == yellow  # which means something
        crowd.select_label(None)
        crowd.set_look(LabelLook(by_value, LabelVisibility((), [front])))
        assert not 45 < colour_of_ball(crowd, front).hue() < 75
    crowd._scene.set_motion(False)
    assert (particles._ellipsoids, particles._seen) == nodes
    assert crowd.legend.isVisibleTo(crowd) and crowd.legend.title() == "Size (µm)"
    qtbot.waitUntil(lambda: crowd.ready, timeout=20_000)


def test_the_cut_opens_the_scene_and_can_be_clicked_into(
    qtbot: QtBot, crowd: Particles3DView
) -> None:
    front = front_ball(crowd)
    assert not crowd.clip_bar.isVisibleTo(crowd)
    whole = colour_of_ball(crowd, front)
    cut_open(crowd, 2)
    crowd.clip_bar.flip.setChecked(bool((front - 1) % 6 > 2))
    qtbot.waitUntil(lambda: crowd.ready and crowd.still, timeout=20_000)
    assert crowd.clip_bar.isVisibleTo(crowd)
    assert colour_of_ball(crowd, front) != whole
    assert crowd._scene is not None and crowd._preparation.particles is not None
    ellipsoids_ = crowd._preparation.particles.ellipsoids
    assert ellipsoids_ is not None
    pixel = crowd._scene.camera.project(ellipsoids_.centres[front - 1][None])[0]
    assert crowd._hit_under((float(pixel[0]), float(pixel[1])))[0] not in (front,)
    crowd.cut.click()
    qtbot.waitUntil(lambda: crowd.ready and crowd.still, timeout=20_000)
    assert colour_of_ball(crowd, front) == whole


def test_the_surfaces_follow_where_one_looks_from(qtbot: QtBot, crowd: Particles3DView) -> None:
    assert crowd._scene is not None
    particles = crowd._scene.particles
    from_start = set(particles._seen_labels.tolist())
    crowd._scene.camera.turntable.azimuth += 180.0
    crowd._moving(True)
    assert crowd._scene._in_motion
    qtbot.waitUntil(lambda: not crowd._scene._in_motion and crowd.ready, timeout=20_000)
    behind = set(particles._seen_labels.tolist())
    assert behind - from_start and from_start - behind
    crowd.reset_view()
    assert not crowd.ready
    qtbot.waitUntil(lambda: crowd.ready, timeout=20_000)
    assert set(particles._seen_labels.tolist()) == from_start


def test_a_mend_keeps_camera_and_selection_and_never_shows_nothing(
    qtbot: QtBot, crowd: Particles3DView
) -> None:
    assert crowd._scene is not None
    front = front_ball(crowd)
    other = front % 216 + 1
    crowd.select_label(other)
    crowd._scene.camera.turntable.azimuth = -20.0
    values = grid_of_balls()
    values[values == front] = 300
    volume = MemoryLabels(values)
    crowd.set_labels(volume, changed=[Box.whole(volume.shape)])
    assert not crowd._scene.particles.empty
    assert crowd._hit_under((230.0, 200.0))[0] > 0
    qtbot.waitUntil(lambda: crowd.ready, timeout=20_000)
    assert crowd._preparation.selected == other and crowd._scene.camera.turntable.azimuth == -20.0
    assert (
        crowd._preparation.particles is not None
        and crowd._preparation.particles.ellipsoids is not None
    )
    assert crowd._preparation.particles.ellipsoids.place_of(300) is not None
    assert crowd._preparation.particles.ellipsoids.place_of(front) is None

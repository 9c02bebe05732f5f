"""Phases in the window: found, moved, named, applied, seen everywhere, and removed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tifffile
from made_up_results import column_of
from PySide6.QtCore import QPoint, Qt
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot
from window_driver import results_of

from particleseg_app.cli import main
from particleseg_app.errors import InvalidValueError
from particleseg_app.gui.formats import format_count
from particleseg_app.gui.main_window import MainWindow
from particleseg_app.gui.panels.table_filter import parse_conditions
from particleseg_app.gui.phases_dialog import PhasesDialog
from particleseg_app.gui.review.focus_look import focus_look
from particleseg_app.gui.tasks import running_tasks
from particleseg_app.gui.viewers.label_look import ColourKey, LabelColouring
from particleseg_app.gui.viewers.phase_colours import PHASE_COLOURS, phase_colour
from particleseg_app.particles.phase_files import load_phases
from particleseg_app.particles.phases import columns_of

LONG_MS = 120_000
SETTINGS = ["--voxel-size-um", "5", "--particle-diameter-um", "70", "--method", "threshwater"]


@pytest.fixture(scope="module")
def segmented(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight dark and four bright balls."""
    folder = tmp_path_factory.mktemp("phases")
    shape = (22, 60, 80)
    grid = np.indices(shape)
    grey = np.random.default_rng(3).normal(2000, 100, shape)
    for number, (y, x) in enumerate((y, x) for y in (11, 30, 49) for x in (11, 31, 51, 69)):
        inside = sum((grid[a] - c) ** 2 for a, c in enumerate((11, y, x))) <= 64
        grey[inside] += 5000 if number % 3 else 9000
    tifffile.imwrite(folder / "balls.tif", grey.astype(np.uint16), photometric="minisblack")
    out = folder / "project"
    assert main(["segment", str(folder / "balls.tif"), *SETTINGS, "--out", str(out)]) == 0
    return out


@pytest.fixture
def window(qtbot: QtBot, segmented: Path) -> Iterator[MainWindow]:
    assert main(["phases", str(segmented), "--remove"]) == 0
    with results_of(qtbot, segmented) as shown:
        yield shown


def opened(qtbot: QtBot, window: MainWindow) -> PhasesDialog:
    window.actions_.phases_action.trigger()
    dialog = window.flows.phases_dialog
    assert dialog is not None
    qtbot.waitUntil(lambda: dialog.task is None, timeout=LONG_MS)
    return dialog


def applied(qtbot: QtBot, window: MainWindow, dialog: PhasesDialog) -> None:
    with qtbot.waitSignal(window.session.table_changed, timeout=LONG_MS):
        qtbot.mouseClick(dialog.apply_button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: dialog.task is None, timeout=LONG_MS)


def rename(qtbot: QtBot, dialog: PhasesDialog, *names: str) -> None:
    for edit, name in zip(dialog.rows.name_edits, names, strict=False):
        edit.selectAll()
        qtbot.keyClicks(edit, name)


def test_phases_are_found_applied_seen_and_removed(
    qtbot: QtBot, window: MainWindow, segmented: Path
) -> None:
    page, run = window.project_page, segmented / "runs" / "run-001"
    dialog = opened(qtbot, window)
    assert dialog.rows.names == ("Phase 1", "Phase 2")
    assert len(dialog.histogram.lines) == 1
    assert dialog.remove_button.isHidden()
    rename(qtbot, dialog, "Quartz", "Pyrite")
    applied(qtbot, window, dialog)
    stored = load_phases(run)
    assert stored is not None and stored.phases == dialog.phases
    assert not dialog.apply_button.isEnabled()

    # Colours and their names, in the slices and in what 3D would show.
    assert page.appearance.coloured_by == "main_phase"
    key = page.appearance.look.colouring.scale
    assert key == ColourKey(
        "Main phase", (("Quartz", phase_colour(0)), ("Pyrite", phase_colour(1)))
    )
    table = window.session.shown.table
    tints = page.appearance.look.tints(table["label"].to_numpy())[:, :3] * 255
    wanted = [phase_colour(n) for n in table["main_phase"].cat.codes]
    np.testing.assert_allclose(tints, wanted, atol=0.5)
    legends = [legend for legend in page.slices._legends.values() if legend.scale is not None]
    assert [legend.scale for legend in legends] == [key]

    # The table shows, sorts and filters.
    model = page.table.model
    column = column_of(model, "main_phase")
    assert page.table.view.horizontalHeader().visualIndex(column) == 2
    page.table.sort_by(column)
    shown = [model.index(row, column).data() for row in range(model.rowCount())]
    assert shown == ["Quartz"] * 8 + ["Pyrite"] * 4
    for text, count in (("phase = pyrite", 4), ("quartz", 8), ("pyrite share < 0.5", 8)):
        page.table.filter_box.setText(text)
        page.table.apply_filter()
        assert model.shown_count == count, text
    page.table.filter_box.setText("phase = gold")
    page.table.apply_filter()
    assert "Quartz, Pyrite" in page.table.problem_label.text()
    page.table.filter_box.clear()
    page.table.apply_filter()

    with qtbot.waitSignal(window.session.table_changed, timeout=LONG_MS):
        qtbot.mouseClick(dialog.remove_button, Qt.MouseButton.LeftButton)
    assert load_phases(run) is None
    assert "main_phase" not in [column.name for column in model.columns]
    assert page.appearance.coloured_by == "particle"
    assert dialog.apply_button.isEnabled(), "what is shown can be applied again"


def test_a_dragged_line_moves_the_limit(qtbot: QtBot, window: MainWindow) -> None:
    dialog = opened(qtbot, window)
    before = dialog.rows._share_labels[0].text()
    line = dialog.histogram.lines[0]
    line.setValue(7005.0)  # what dragging does
    assert dialog.rows.thresholds == pytest.approx((7005.0,))
    assert dialog.rows._share_labels[0].text() != before
    dialog.rows.limit_boxes[0].setValue(8000.0)
    assert dialog.histogram.thresholds == (8000.0,)
    dialog.set_count(3)
    assert len(dialog.histogram.lines) == 2
    first, second = dialog.histogram.lines
    first.setValue(second.value() + 500)
    assert first.value() < second.value(), "no line passes another"


def test_the_dialog_leaves_the_results_in_sight(qtbot: QtBot, window: MainWindow) -> None:
    dialog = opened(qtbot, window)
    left = window.mapToGlobal(QPoint(0, 0)).x()
    assert left <= dialog.x() < left + 40
    fourth = window.project_page.slices.view("yz")
    assert dialog.geometry().right() < fourth.mapToGlobal(QPoint(0, 0)).x()
    assert dialog.histogram.plot.getAxis("bottom").labelText == "grey value"


def test_grey_values_are_whole_where_the_scan_has_whole_ones(
    qtbot: QtBot, window: MainWindow
) -> None:
    dialog = opened(qtbot, window)
    box = dialog.rows.limit_boxes[0]
    assert box.decimals() == 0 and box.text() == format_count(round(box.value()))
    box.selectAll()
    qtbot.keyClicks(box, "9 100")
    box.interpretText()  # as when one leaves it
    assert dialog.phases.thresholds == (9100.0,)
    assert box.text() == format_count(9100)
    applied(qtbot, window, dialog)
    dialog.reject()
    again = opened(qtbot, window)
    assert not again.apply_button.isEnabled()  # nothing is changed yet


def test_impossible_names_are_told_and_not_applied(qtbot: QtBot, window: MainWindow) -> None:
    dialog = opened(qtbot, window)
    rename(qtbot, dialog, "Quartz", "quartz")
    assert not dialog.apply_button.isEnabled()
    assert "told apart" in dialog._problem.text()
    rename(qtbot, dialog, "Quartz", "Pyrite")
    assert dialog.apply_button.isEnabled()
    assert dialog._problem.isHidden()


def test_colouring_by_phase_leads_to_them(qtbot: QtBot, window: MainWindow) -> None:
    bar = window.project_page.appearance_bar
    place = bar.choice.findText("Phase…")
    assert "no phases yet" in bar.choice.itemData(place, Qt.ItemDataRole.ToolTipRole)
    bar.choice.setCurrentIndex(place)
    bar.choice.activated.emit(place)
    assert bar.choice.currentText() == "Particle"
    dialog = window.flows.phases_dialog
    assert dialog is not None
    qtbot.waitUntil(lambda: dialog.task is None, timeout=LONG_MS)
    applied(qtbot, window, dialog)
    assert bar.choice.currentText() == "Phase"


def test_mends_keep_the_phases(qtbot: QtBot, window: MainWindow) -> None:
    applied(qtbot, window, opened(qtbot, window))
    session = window.session
    review, table = session.shown.review, session.shown.table
    bright = int(table.loc[table["main_phase"] == "Phase 2", "label"].iloc[0])
    tools = review.mending(None)
    with qtbot.waitSignal(session.table_changed, timeout=LONG_MS):
        entry = tools.apply(tools.preview_delete([bright]), "delete", "Deleted")
        session.mended_table.take_up_mends(entry.labels)
    assert (session.shown.table["main_phase"] == "Phase 2").sum() == 3
    with qtbot.waitSignal(session.table_changed, timeout=LONG_MS):
        session.mended_table.take_up_mends(review.journal.undo().labels)
    assert session.shown.table["main_phase"].tolist() == table["main_phase"].tolist()


def test_the_filter_form_offers_the_phases(qtbot: QtBot, window: MainWindow) -> None:
    applied(qtbot, window, opened(qtbot, window))
    table = window.project_page.table
    box = table._popup.phase_box
    assert [box.itemText(n) for n in range(box.count())] == ["Any", "Phase 1", "Phase 2"]
    box.setCurrentIndex(2)
    box.activated.emit(2)
    assert table.filter_box.text() == "phase = Phase 2"
    assert table.model.shown_count == 4
    conditions = parse_conditions(
        "phase = 1", columns_of(table.model.table), ("Phase 1", "Phase 2")
    )
    assert conditions[0].name == "Phase 1"
    with pytest.raises(InvalidValueError, match="no phases yet"):
        parse_conditions("phase = 1", columns_of(table.model.table))


def test_a_case_of_the_review_is_coloured_by_phase() -> None:
    key = ColourKey("Main phase", (("Quartz", phase_colour(0)), ("Pyrite", phase_colour(1))))
    by_class = LabelColouring.by_class(np.array([1, 2, 3]), np.array([0, 1, 1]), key)
    look = focus_look([2], [], 4, by_class)
    tints = np.round(255 * look.tints(np.array([1, 2, 3, 4]))[:, :3]).astype(int)
    assert tuple(tints[1]) == phase_colour(1)
    assert look.colouring.scale == key
    # Neighbours are fainter but of their phase; those of no phase are grey.
    assert tints[0].argmax() == 2 and tints[0].max() < max(phase_colour(0))
    assert tints[2].argmax() == 0 and tints[2].max() < max(phase_colour(1))
    assert np.ptp(tints[3]) == 0
    parts = focus_look([2], [2, 4], 4, by_class).tints(np.array([2, 4]))
    assert not np.allclose(parts[0], parts[1]), "parts are told apart"


def test_the_review_takes_up_the_colours(qtbot: QtBot, window: MainWindow) -> None:
    applied(qtbot, window, opened(qtbot, window))
    window.project_page.select(1)
    window.actions_.mend_action.trigger()
    view = window.review_page.view
    qtbot.waitUntil(lambda: view.shown is not None, timeout=LONG_MS)
    assert window.flows.phases_dialog is None, "phases belong to the results"
    assert isinstance(view._look.colouring.scale, ColourKey)
    window.review.leave()
    window.project_page.appearance.colour_by("particle")
    window.actions_.mend_action.trigger()
    qtbot.waitUntil(lambda: view.shown is not None, timeout=LONG_MS)
    assert view._look.colouring.scale is None
    window.review.leave()


def test_closing_while_it_looks_ends_the_work(qtbot: QtBot, window: MainWindow) -> None:
    window.actions_.phases_action.trigger()
    window.flows.close_phases()
    assert window.flows.phases_dialog is None
    qtbot.waitUntil(lambda: not running_tasks(), timeout=LONG_MS)
    QApplication.processEvents()
    assert opened(qtbot, window).rows.names == ("Phase 1", "Phase 2")


def test_the_colours_of_phases_can_be_told_apart_by_everyone() -> None:
    """Under full loss of one kind of cone (matrices of Machado, Oliveira and Fernandes 2009)."""
    kinds = {
        "normal": np.eye(3),
        "protanopia": [[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]],
        "deuteranopia": [[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]],
        "tritanopia": [[1.256, -0.077, -0.179], [-0.078, 0.931, 0.148], [0.005, 0.691, 0.304]],
    }
    encoded = np.array(PHASE_COLOURS) / 255
    linear = np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)
    for kind, matrix in kinds.items():
        seen = _oklab((linear @ np.array(matrix).T).clip(0, 1))
        apart = np.linalg.norm(seen[:, None] - seen[None], axis=2)[np.triu_indices(5, 1)]
        assert apart.min() > 0.1, kind
        # The canvas is nearly black, panels are nearly black or white.
        assert seen[:, 0].min() > 0.5, kind


def _oklab(linear: np.ndarray) -> np.ndarray:
    """OKLab (n, 3) of linear red, green and blue (B. Ottosson's matrices)."""
    to_cones = [[0.4122, 0.5363, 0.0514], [0.2119, 0.6807, 0.1074], [0.0883, 0.2817, 0.6300]]
    to_lab = [[0.2105, 0.7936, -0.0041], [1.9780, -2.4286, 0.4506], [0.0259, 0.7828, -0.8087]]
    return np.cbrt(linear @ np.array(to_cones).T) @ np.array(to_lab).T

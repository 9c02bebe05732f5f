"""Dialogs over the true window: what they say, where they stand, what they keep; and its size."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import pandas as pd
import pytest
from made_up_results import write_scan
from PySide6.QtCore import QMimeData, QPoint, Qt, QUrl
from PySide6.QtGui import QDragEnterEvent
from PySide6.QtWidgets import (
    QApplication,
    QLabel,
    QLineEdit,
    QSpinBox,
    QToolButton,
    QVBoxLayout,
    QWidget,
)
from pytestqt.qtbot import QtBot
from window_driver import filtered

from particleseg_app.gui import theme
from particleseg_app.gui.export_dialog import CSV, HDF5, TIFF, ExportDialog
from particleseg_app.gui.main_window import SMALLEST, MainWindow
from particleseg_app.gui.number_field import GreyBox, NumberField
from particleseg_app.gui.style import controls_style, trim_number_box

LONG_MS = 60_000


@pytest.fixture
def themed(qapp: QApplication) -> None:
    """The window's own look, from its beginning."""
    theme.apply_theme(qapp, dark=False)


def export_dialog(window: MainWindow) -> ExportDialog:
    window.actions_.export_action.trigger()
    dialog = window.flows.export_dialog
    assert dialog is not None
    for key, box in dialog.boxes.items():
        box.setChecked(key == CSV)
    return dialog


def texts(widget: QWidget) -> str:
    return "\n".join(text.text() for text in widget.findChildren(QLabel))


# --- export -----------------------------------------------------------------------------------


def test_the_export_says_how_many_particles_it_writes(window: MainWindow) -> None:
    dialog = export_dialog(window)
    assert "5 particles are exported." in texts(dialog)
    assert dialog.only_shown_box.isHidden()  # there is nothing to leave out
    dialog.reject()
    filtered(window, "1")
    dialog = export_dialog(window)
    assert "All 5 particles are exported; the table shows 1 of them." in texts(dialog)
    dialog.only_shown_box.setChecked(True)
    assert "1 of 5 particles are exported, those that the table shows." in texts(dialog)
    dialog.boxes[TIFF].setChecked(True)
    assert "The CSV gets 1 of 5 particles, those that the table shows" in texts(dialog)
    dialog.boxes[CSV].setChecked(False)
    assert not dialog.only_shown_box.isEnabled()
    assert "All 5 particles are exported; the table shows 1 of them." in texts(dialog)
    dialog.reject()


def test_an_export_of_another_run_promises_no_number(qtbot: QtBot, window: MainWindow) -> None:
    project = window.session.project
    assert project is not None
    dialog = ExportDialog(project, project.runs[0].id)
    qtbot.addWidget(dialog)
    assert "All particles are exported." in texts(dialog)


@pytest.mark.parametrize("only", [False, True])
def test_the_csv_can_be_limited_to_the_table(
    qtbot: QtBot, window: MainWindow, tmp_path: Path, only: bool
) -> None:
    window.project_page.table.hide_edge_box.setChecked(True)
    filtered(window, "diameter > 150")
    wanted = sorted(window.project_page.table.model.shown_labels().tolist())
    assert 0 < len(wanted) < 5
    dialog = export_dialog(window)
    dialog.boxes[HDF5].setChecked(True)
    dialog.folder_edit.setText(str(tmp_path))
    dialog.name_edit.setText("out")
    dialog.only_shown_box.setChecked(only)
    dialog.export_button.click()
    qtbot.waitUntil(lambda: dialog.pages.currentIndex() == 1, timeout=LONG_MS)
    labels = pd.read_csv(tmp_path / "out.csv").label.tolist()
    about = json.loads((tmp_path / "out.json").read_text())
    assert about["row_count"] == len(labels)
    done = texts(dialog.pages.currentWidget())
    if only:
        assert labels == wanted
        assert about["provenance"]["filter"] == "diameter > 150, edge = no"
        assert about["provenance"]["particles_of_the_run"] == 5
        assert f"The CSV gets {len(wanted)} of 5 particles" in done
    else:
        assert len(labels) == 5 and "filter" not in about["provenance"]
        assert f"All 5 particles are exported; the table shows {len(wanted)} of them." in done
    # Enter closes it.
    dialog.activateWindow()
    qtbot.waitUntil(dialog.close_button.hasFocus)
    qtbot.keyClick(dialog.close_button, Qt.Key.Key_Return)
    assert window.flows.export_dialog is None


# --- names, questions -------------------------------------------------------------------------


def test_renaming_takes_a_name_that_is_another_one(qtbot: QtBot, window: MainWindow) -> None:
    project = window.session.project
    assert project is not None
    window.flows.rename("run", project.runs[0].id)
    dialog = window.flows.rename_dialog
    assert dialog is not None
    assert not dialog.rename_button.isEnabled()
    dialog.edit.setText("  ")
    assert not dialog.rename_button.isEnabled()
    dialog.edit.setText(" Best one ")
    dialog.activateWindow()
    qtbot.keyClick(dialog.edit, Qt.Key.Key_Return)
    assert window.flows.rename_dialog is None
    assert project.runs[0].name == "Best one"
    window.flows.rename("scan", project.scans[0].id)
    dialog = window.flows.rename_dialog
    assert dialog is not None
    dialog.edit.setText("Other")
    dialog.reject()
    assert project.scans[0].name != "Other"


@pytest.mark.parametrize(
    ("more_runs", "text"),
    [
        (-1, "The copy of the scan in this project is deleted; the original files stay."),
        (0, "The copy of the scan in this project and its run are deleted; the"),
        (2, "The copy of the scan in this project and its 3 runs are deleted; the"),
    ],
)
def test_removing_a_scan_says_what_goes(
    window: MainWindow, monkeypatch: pytest.MonkeyPatch, more_runs: int, text: str
) -> None:
    project = window.session.project
    assert project is not None
    first = project.runs[0]
    for _ in range(more_runs):
        project.new_run(first.scan_id, dict(first.settings))
    if more_runs < 0:
        window.session.remove_run(first.id)
    asked: list[tuple[str, ...]] = []
    monkeypatch.setattr(window.flows, "_sure", lambda *words: bool(asked.append(words)))
    window.flows.remove_scan(first.scan_id)
    assert asked[0][1].startswith(text)


def test_work_that_goes_on_is_kept_running(
    window: MainWindow, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, ...]] = []
    monkeypatch.setattr(window.flows, "_sure", lambda *words: bool(asked.append(words)))
    with monkeypatch.context() as patch:
        patch.setattr(type(window.session.jobs), "current", type("Job", (), {"title": "Run 2"}))
        assert not window.flows.may_stop_work("Close")
    assert asked[0][2:] == ("Stop and close", "Keep running")


# --- the wizard -------------------------------------------------------------------------------


def test_answers_of_a_wizard_left_by_esc_are_kept(qtbot: QtBot, window: MainWindow) -> None:
    project = window.session.project
    assert project is not None
    scan_id = project.scans[0].id
    window.flows.start_wizard(scan_id)
    wizard = window.flows.wizard
    assert wizard is not None
    wizard.voxel_size_page.field.edit.setText("7,5")
    wizard.diameter_page.field.edit.setText("120")
    wizard.method_page.classical_button.click()
    wizard.method_page.threshold.edit.setText("21 000")
    wizard.method_page.erosion.setValue(4)
    with qtbot.waitSignal(wizard.scan_released, timeout=LONG_MS):
        qtbot.keyClick(wizard, Qt.Key.Key_Escape)
    assert window.flows.wizard is None

    window.flows.start_wizard(scan_id)
    wizard = window.flows.wizard
    assert wizard is not None
    assert wizard.voxel_size_page.field.edit.text() == "7,5"
    settings = wizard.settings()
    assert settings["voxel_size_um"] == 7.5 and settings["particle_diameter_um"] == 120
    assert (settings["threshold"], settings["erosion_radius"]) == (21000, 4)
    with qtbot.waitSignal(wizard.scan_released, timeout=LONG_MS):
        wizard.reject()
    window.flows._drafts.clear()  # as after a new start
    window.flows.start_wizard(scan_id)
    wizard = window.flows.wizard
    assert wizard is not None
    assert wizard.voxel_size_page.field.edit.text() != "7,5"
    with qtbot.waitSignal(wizard.scan_released, timeout=LONG_MS):
        wizard.reject()


# --- the window -------------------------------------------------------------------------------


def test_nothing_is_cut_off_in_the_smallest_window(
    qtbot: QtBot, themed: None, window: MainWindow
) -> None:
    assert SMALLEST[0] <= 1280 and SMALLEST[1] <= 720
    page = window.project_page
    window.resize(800, 500)
    qtbot.waitUntil(lambda: page.width() == SMALLEST[0])
    assert (window.width(), window.height()) == SMALLEST
    toolbar = window.actions_.toolbar
    overflow = toolbar.findChild(QToolButton, "qt_toolbar_ext_button")
    assert overflow is None or not overflow.isVisible()
    for heading in page.sizes.findChildren(QLabel) + page.table.findChildren(QLabel):
        if heading.isVisible():
            assert heading.width() >= heading.minimumSizeHint().width(), heading.text()
    if page.particles_3d is not None:
        bar = page.particles_3d.bar

        def apart() -> bool:
            buttons = [b for b in bar.findChildren(QToolButton) if b.isVisible()]
            places = sorted((b.x(), b.x() + b.width()) for b in buttons)
            one_by_one = all(right <= left for (_, right), (left, _) in pairwise(places))
            return one_by_one and places[-1][1] <= bar.width()

        qtbot.waitUntil(apart, timeout=LONG_MS)


def test_tab_leads_through_the_table_and_out_of_it(qtbot: QtBot, window: MainWindow) -> None:
    panel = window.project_page.table
    window.activateWindow()
    panel.view.selectRow(1)
    panel.filter_box.setFocus()
    qtbot.waitUntil(panel.filter_box.hasFocus)
    reached = [panel.filter_box]
    for _ in range(4):
        qtbot.keyClick(QApplication.focusWidget(), Qt.Key.Key_Tab)
        reached.append(QApplication.focusWidget())
    assert reached[1:4] == [panel.popup_button, panel.hide_edge_box, panel.view]
    assert not panel.isAncestorOf(reached[4])
    back = Qt.KeyboardModifier.ShiftModifier
    qtbot.keyClick(reached[4], Qt.Key.Key_Tab, back)
    assert panel.view.hasFocus()
    # What comes before the table leads to its filter, not into the middle.
    for _ in range(4):
        qtbot.keyClick(QApplication.focusWidget(), Qt.Key.Key_Tab, back)
    before = QApplication.focusWidget()
    assert not panel.isAncestorOf(before)
    qtbot.keyClick(before, Qt.Key.Key_Tab)
    assert panel.filter_box.hasFocus()


def test_fields_for_text_and_for_numbers_are_equally_high(qtbot: QtBot, qapp: QApplication) -> None:
    theme.apply_theme(qapp, dark=False)
    page = QWidget()
    page.setStyleSheet(controls_style())
    qtbot.addWidget(page)
    field, grey, text = NumberField("grey value"), GreyBox("Threshold"), QLineEdit()
    number = QSpinBox()
    trim_number_box(number)
    layout = QVBoxLayout(page)
    for part in (field, grey, text, number):
        layout.addWidget(part)
    page.show()
    heights = {part.height() for part in (field.edit, grey, text, number)}
    assert len(heights) == 1


def test_grey_values_are_written_with_thin_spaces(qtbot: QtBot) -> None:
    box = GreyBox("Threshold")
    qtbot.addWidget(box)
    box.setDecimals(1)
    box.setRange(0, 65_535)
    box.setValue(21_614.5)
    assert box.text() == "21\u202f614.5"
    for typed, value in (("30 000", 30_000), ("30000,5", 30_000.5), ("70000", 30_000.5)):
        box.selectAll()
        qtbot.keyClicks(box, typed)
        qtbot.keyClick(box, Qt.Key.Key_Return)
        assert box.value() == value
    box.selectAll()
    qtbot.keyClicks(box, "many")
    qtbot.keyClick(box, Qt.Key.Key_Return)
    assert box.value() == 30_000.5 and box.text() == "30\u202f000.5"


def test_the_veil_says_what_a_drop_does(window: MainWindow, tmp_path: Path) -> None:
    said = []
    project = window.session.project
    assert project is not None
    for path in (project.folder, project.folder / "project.json", write_scan(tmp_path / "new")):
        mime = QMimeData()
        mime.setUrls([QUrl.fromLocalFile(str(path))])
        event = QDragEnterEvent(
            QPoint(200, 200),
            Qt.DropAction.CopyAction,
            mime,
            Qt.MouseButton.LeftButton,
            Qt.KeyboardModifier.NoModifier,
        )
        window.dragEnterEvent(event)
        said.append(window._veil.findChild(QLabel).text())
    window._end_drag()
    adds = f"Let go to add the scan to {project.name}"
    assert said == ["Let go to open the project", "Let go to open the project", adds]


def test_one_word_for_one_thing(window: MainWindow) -> None:
    page = window.project_page
    assert page.appearance_bar.show_all_action.text() == "Show hidden particles"
    overlay = [text.text() for text in window.actions_._overlay.findChildren(QLabel)]
    assert overlay == ["Overlay"]
    hints = page.slices._hints.text()
    assert hints.endswith("Home: show the whole scan")
    assert window.actions_.show_all_action.text() == "Show the whole scan"

"""What the window says stays true whatever comes in between, and nothing typed is lost."""

from __future__ import annotations

from pathlib import Path

import pytest
from made_up_results import write_scan
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QLabel
from pytestqt.qtbot import QtBot
from review_driver import Reviewer
from window_driver import filtered

from particleseg_app.errors import ProjectError
from particleseg_app.gui.main_window import MainWindow
from particleseg_app.gui.new_project_dialog import NewProjectDialog
from particleseg_app.gui.number_field import NumberField
from particleseg_app.gui.panels.table_filter import parse_conditions
from particleseg_app.gui.style import OneLine, label
from particleseg_app.volumes import inspect_source

LONG_MS = 60_000


def test_sizes_are_of_what_passes_the_filter_also_after_a_mend(window: MainWindow) -> None:
    page, shown = window.project_page, window.session.shown
    assert shown is not None and shown.table is not None
    middle = float(shown.table["equivalent_diameter_um"].median())
    filtered(window, f"diameter > {middle:g}")
    count = page.table.model.shown_count
    assert 0 < count < len(shown.table)
    told = page.sizes._count.text()
    assert told.startswith(f"{count} particle")
    page.show_mended(shown)
    assert page.sizes._count.text() == told
    page.show_scan(shown)
    assert page.sizes._count.text() == told


def test_a_run_that_cannot_be_read_leaves_what_is_shown_marked(
    qtbot: QtBot, window: MainWindow
) -> None:
    session = window.session
    shown = session.shown
    assert shown is not None and shown.run is not None
    before = session.wanted
    session.failed.disconnect()  # the failure is what is looked at here

    def damaged(*_: object) -> None:
        raise ProjectError("The particle table cannot be read.", "Segment the scan again.")

    with qtbot.waitSignal(session.failed, timeout=LONG_MS) as failed:
        session._load(("run", "run-002"), damaged)
        assert session.wanted == ("run", "run-002")
    assert isinstance(failed.args[0], ProjectError)
    assert session.wanted == before == ("run", shown.run.id)
    assert window.project_page.projects._chosen() == before


def test_a_scan_is_not_put_into_a_project_that_was_opened_meanwhile(
    qtbot: QtBot, window: MainWindow, tmp_path: Path
) -> None:
    session, opening = window.session, window.opening
    assert session.project is not None
    source = inspect_source(write_scan(tmp_path / "dropped"))
    opening._on_inspected(source, None)  # dropped while no project was open
    assert not session.jobs.busy and len(session.project.scans) == 1
    assert "Add dropped to" in window.banner.text
    with qtbot.waitSignal(session.scan_imported, timeout=LONG_MS):
        window.banner.action_button.click()
    assert [scan.name for scan in session.project.scans][-1] == "dropped"
    qtbot.waitUntil(lambda: window.flows.wizard is not None, timeout=LONG_MS)
    wizard = window.flows.wizard
    assert wizard is not None
    with qtbot.waitSignal(wizard.scan_released, timeout=LONG_MS):
        wizard.reject()


def test_a_scan_that_is_copied_during_a_review_does_not_end_it(
    reviewer: Reviewer, tmp_path: Path
) -> None:
    reviewer.start()
    window = reviewer.window
    window.opening.open_paths([write_scan(tmp_path / "second")])
    reviewer.wait(lambda: "is in the project now" in window.banner.text)
    assert window.review.active and window.flows.wizard is None
    window.banner.action_button.click()
    reviewer.wait(lambda: window.flows.wizard is not None)
    wizard = window.flows.wizard
    assert wizard is not None
    with reviewer.qtbot.waitSignal(wizard.scan_released, timeout=LONG_MS):
        wizard.reject()


def test_answers_stay_where_the_run_could_not_be_recorded(
    qtbot: QtBot, window: MainWindow, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = window.session.project
    assert project is not None
    scan_id = project.scans[0].id
    window.flows.start_wizard(scan_id)
    wizard = window.flows.wizard
    assert wizard is not None
    wizard.voxel_size_page.field.edit.setText("7,5")
    wizard.diameter_page.field.edit.setText("120")
    monkeypatch.setattr(window.session, "start_run", lambda *_: None)
    with qtbot.waitSignal(wizard.scan_released, timeout=LONG_MS):
        wizard.answered.emit(wizard.settings())
        wizard.accept()
    window.flows.start_wizard(scan_id)
    wizard = window.flows.wizard
    assert wizard is not None
    assert wizard.voxel_size_page.field.edit.text() == "7,5"
    assert wizard.diameter_page.field.edit.text() == "120"
    with qtbot.waitSignal(wizard.scan_released, timeout=LONG_MS):
        wizard.reject()


def test_what_a_message_offers_is_harmless_when_its_run_is_gone(window: MainWindow) -> None:
    session = window.session
    assert session.shown is not None and session.shown.run is not None
    session.run_cancelled.emit(session.shown.run.id)
    assert "is stopped" in window.banner.text
    session.remove_run(session.shown.run.id)
    window.banner.action_button.click()
    assert not session.jobs.busy


def test_names_that_are_too_long_are_told(qtbot: QtBot, window: MainWindow, tmp_path: Path) -> None:
    source = inspect_source(write_scan(tmp_path / "ore"))
    dialog = NewProjectDialog(source, window)
    qtbot.addWidget(dialog)
    assert dialog.create_button.isEnabled()
    dialog.place_edit.setText(str(tmp_path / ("deep" * 90)))
    assert not dialog.create_button.isEnabled()
    assert "cannot be used" in dialog.problem()
    window.actions_.export_action.trigger()
    export = window.flows.export_dialog
    assert export is not None
    export.folder_edit.setText(str(tmp_path))
    export.name_edit.setText("x" * 300)
    assert "shorter" in export.problem() and not export.export_button.isEnabled()
    export.reject()


@pytest.mark.parametrize(
    ("typed", "field", "becomes"),
    [
        (
            "edge = no, z > 100, diameter > 150",
            "sphericity",
            "edge = no, z > 100, diameter > 150, sphericity >= 0.5",
        ),
        ("diameter 20..150", "equivalent_diameter_um", "diameter 0.5..150"),
        ("17", "sphericity", "label = 17, sphericity >= 0.5"),
        ("", "sphericity", "sphericity >= 0.5"),
    ],
)
def test_the_form_of_the_filter_keeps_what_was_typed(
    window: MainWindow, typed: str, field: str, becomes: str
) -> None:
    table = window.project_page.table
    filtered(window, typed)
    low, _ = table._popup._fields[field]
    low.setText("0.5")
    low.textEdited.emit("0.5")
    assert table.filter_box.text().replace("centroid_z_um", "z") == becomes
    again = parse_conditions(table.filter_box.text(), table.model.columns)
    assert {c for c in parse_conditions(typed, table.model.columns) if c.column != field} <= set(
        again
    )


def test_all_rows_are_marked_at_once(window: MainWindow) -> None:
    table = window.project_page.table
    table.view.selectAll()
    assert table.marked_labels() == tuple(sorted(table.model.shown_labels().tolist()))
    table.view.clearSelection()
    assert table.marked_labels() == ()


def test_runs_cannot_be_folded_away(qtbot: QtBot, window: MainWindow) -> None:
    tree = window.project_page.projects.tree
    scan = tree.topLevelItem(0)
    assert scan is not None
    tree.setCurrentItem(scan)
    qtbot.keyClick(tree, Qt.Key.Key_Left)
    rect = tree.visualItemRect(scan)
    qtbot.mouseDClick(tree.viewport(), Qt.MouseButton.LeftButton, pos=rect.center())
    assert scan.isExpanded()


def test_thousands_are_written_out_in_fields(qtbot: QtBot) -> None:
    field = NumberField("µm")
    qtbot.addWidget(field)
    field.set_value(1497.3, 3)
    assert field.edit.text() == "1500"
    field.set_value(0.0123456, 3)
    assert field.edit.text() == "0.0123"


def test_names_are_shown_as_they_are(qtbot: QtBot, window: MainWindow) -> None:
    text = label("a <u>project</u>")
    qtbot.addWidget(text)
    assert text.textFormat() == Qt.TextFormat.PlainText
    window.banner.show_info("<s>Run</s> is stopped.")
    sentence = window.banner.findChildren(QLabel)
    assert all(part.textFormat() == Qt.TextFormat.PlainText for part in sentence if part.text())


def test_a_long_name_is_shortened_in_the_middle_and_told_whole(qtbot: QtBot) -> None:
    name = "Sample 12, drill core B, 20 µm, repeated after realignment of the stage"
    text = OneLine(name, "heading")
    qtbot.addWidget(text)
    text.resize(200, 24)
    text.show()
    assert "…" in text.text() and text.text().startswith("Sample") and name[-5:] in text.text()
    assert name in text.toolTip()
    text.resize(1200, 24)
    assert text.text() == name and text.toolTip() == ""
    text.setText("short")
    assert text.text() == "short"

"""Smaller parts of the window: start page, dialogs, messages, panels, crash report."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from made_up_results import column_of, made_up_table, write_scan
from PySide6.QtCore import Qt
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QApplication, QFrame, QLabel
from pytestqt.qtbot import QtBot

from particleseg_app.errors import ScanError
from particleseg_app.gui import theme
from particleseg_app.gui.banner import Banner
from particleseg_app.gui.crash_handler import CrashDialog, CrashHandler
from particleseg_app.gui.export_dialog import CSV, TIFF, ExportDialog
from particleseg_app.gui.formats import format_bytes, format_duration, parse_number
from particleseg_app.gui.icons import icon
from particleseg_app.gui.main import main
from particleseg_app.gui.new_project_dialog import NewProjectDialog, folder_name
from particleseg_app.gui.panels.particle_table import ParticleTablePanel
from particleseg_app.gui.panels.project_panel import ProjectPanel, RunItem, ScanItem
from particleseg_app.gui.panels.size_distribution import SizeDistributionPanel
from particleseg_app.gui.panels.size_plot import _SizeAxis as SizeAxis
from particleseg_app.gui.settings import settings
from particleseg_app.gui.start_page import StartPage
from particleseg_app.user_folders import log_file
from particleseg_app.volumes import inspect_source


@dataclass
class Recent:
    folder: Path
    name: str
    opened_at: str
    exists: bool


def test_recent_projects_that_are_gone_cannot_be_opened(qtbot: QtBot, tmp_path: Path) -> None:
    page = StartPage()
    qtbot.addWidget(page)
    opened: list[Path] = []
    page.recent_opened.connect(opened.append)
    there = Recent(tmp_path, "there", "2026-05-03T10:00:00+00:00", True)
    gone = Recent(tmp_path / "gone", "gone", "2026-05-03T10:00:00+00:00", False)
    page.set_recent([there, gone])
    page.show()
    first, second = page._list.findChildren(QFrame, "recentRow")
    qtbot.mouseClick(second, Qt.MouseButton.LeftButton)
    qtbot.mouseClick(first, Qt.MouseButton.LeftButton)
    assert opened == [tmp_path]
    page.set_recent([])
    assert not page._scroll.isVisible()


def test_a_new_project_needs_a_free_place(qtbot: QtBot, tmp_path: Path) -> None:
    settings().setValue("last/projects_folder", str(tmp_path))
    (tmp_path / "ore").mkdir()
    (tmp_path / "ore" / "notes.txt").write_text("mine")
    dialog = NewProjectDialog(inspect_source(write_scan(tmp_path / "scans" / "ore")))
    qtbot.addWidget(dialog)
    assert dialog.project_name == "ore 2"
    assert dialog.create_button.isEnabled()
    dialog.name_edit.setText("ore")
    assert "not empty" in dialog.problem()
    assert not dialog.create_button.isEnabled()
    dialog.name_edit.setText("   ")
    assert "name" in dialog.problem()
    dialog.name_edit.setText("new")
    dialog.place_edit.setText("somewhere")
    assert not dialog.create_button.isEnabled()
    dialog.place_edit.setText(str(tmp_path / "ore" / "notes.txt"))
    assert "is a file" in dialog.problem()


@pytest.mark.parametrize(
    ("name", "folder"), [("a/b:c", "a_b_c"), (" .x. ", "x"), ("Erz Süd 7", "Erz Süd 7")]
)
def test_folder_names_are_allowed_on_every_system(name: str, folder: str) -> None:
    assert folder_name(name) == folder


def test_the_export_names_every_file_that_it_would_replace(qtbot: QtBot, tmp_path: Path) -> None:
    entry = SimpleNamespace(name="Run 1", scan_id="scan-001")
    project: Any = SimpleNamespace(
        run=lambda run_id: entry,
        scan=lambda scan_id: SimpleNamespace(name="sand"),
        read_only=False,
        folder=tmp_path,
    )
    (tmp_path / "sand_Run_1.json").write_text("mine")
    (tmp_path / "sand_Run_1_labels.tif").write_text("mine")
    dialog = ExportDialog(project, "run-001")
    qtbot.addWidget(dialog)

    def replaced() -> str:
        return " ".join(
            text.text() for text in dialog.findChildren(QLabel) if "Repl" in text.text()
        )

    for key, box in dialog.boxes.items():
        box.setChecked(key == CSV)
    assert replaced().endswith(": sand_Run_1.json")
    dialog.boxes[TIFF].setChecked(True)
    assert replaced().endswith(": sand_Run_1.json, sand_Run_1_labels.tif")
    dialog.boxes[CSV].setChecked(False)
    assert replaced().endswith(": sand_Run_1_labels.tif")


def test_errors_stay_and_good_news_leave(qtbot: QtBot) -> None:
    banner = Banner()
    qtbot.addWidget(banner)
    banner.show_error(ScanError("slice_7.tif is cut off.", "Copy it again."))
    assert banner.text == "slice_7.tif is cut off. Copy it again."
    assert not banner._timer.isActive()
    banner.show_success("Done.")
    assert banner._timer.isActive()
    banner.close_button.click()
    assert banner.text == ""


def test_a_bug_is_logged_and_shown_once(qtbot: QtBot, monkeypatch: pytest.MonkeyPatch) -> None:
    from particleseg_app.gui import crash_handler

    handlers = list(crash_handler.logger.handlers)
    crash_handler.start_log()
    handler = CrashHandler()
    for text in ("first", "second"):
        try:
            raise ValueError(text)
        except ValueError as error:
            handler.report(error)
    qtbot.waitUntil(lambda: handler._dialog is not None)
    qtbot.wait(20)
    dialog = handler._dialog
    assert isinstance(dialog, CrashDialog)
    dialog.copy_button.click()
    copied = QGuiApplication.clipboard().text()
    assert "ValueError: first" in copied and "ValueError: second" in copied
    assert "ValueError: first" in log_file().read_text()
    dialog.accept()
    assert handler._dialog is None
    for added in set(crash_handler.logger.handlers) - set(handlers):
        crash_handler.logger.removeHandler(added)
        added.close()


def test_the_project_panel_offers_what_fits_the_state(qtbot: QtBot) -> None:
    panel = ProjectPanel()
    qtbot.addWidget(panel)
    runs = (
        RunItem("r1", "Run 1", "finished", "340 particles"),
        RunItem("r2", "Run 2", "unfinished", "unfinished"),
        RunItem("r3", "Run 3", "working", "running"),
    )
    panel.set_project("Ore", [ScanItem("s1", "ore", "64 × 64 × 48", runs)])
    panel.show()
    texts = {}
    scan = panel.tree.topLevelItem(0)
    assert scan is not None
    for number in range(3):
        run = scan.child(number)
        assert run is not None
        menu = panel.menu_for(run)
        texts[number] = [action.text() for action in menu.actions() if action.isEnabled()]
    assert "Export…" in texts[0] and "Continue" not in texts[0]
    assert "Continue" in texts[1] and "Export…" not in texts[1]
    assert "Stop" in texts[2] and "Remove this run…" not in texts[2]
    panel.choose("run", "r2")
    assert panel.continue_button.isVisible()
    assert panel.chosen_scan() == "s1"
    with qtbot.waitSignal(panel.run_continued) as signal:
        panel.continue_button.click()
    assert signal.args == ["r2"]
    assert "ore" in scan.toolTip(0) and "64 × 64 × 48" in scan.toolTip(0)  # where it is shortened


def test_the_project_panel_renames_and_removes_by_keys(qtbot: QtBot) -> None:
    panel = ProjectPanel()
    qtbot.addWidget(panel)
    runs = (
        RunItem("r1", "Run 1", "finished", "340 particles"),
        RunItem("r3", "Run 3", "working", "running"),
    )
    panel.set_project("Ore", [ScanItem("s1", "ore", "64 × 64 × 48", runs)])
    panel.show()
    panel.activateWindow()
    panel.tree.setFocus()
    qtbot.waitUntil(panel.tree.hasFocus)
    panel.choose("run", "r1")
    with qtbot.waitSignal(panel.rename_wanted) as renamed:
        qtbot.keyClick(panel.tree, Qt.Key.Key_F2)
    assert renamed.args == ["run", "r1"]
    with qtbot.waitSignal(panel.remove_run_wanted) as removed:
        qtbot.keyClick(panel.tree, Qt.Key.Key_Delete)
    assert removed.args == ["r1"]
    panel.choose("run", "r3")
    with qtbot.assertNotEmitted(panel.remove_run_wanted, wait=50):  # it is at work
        qtbot.keyClick(panel.tree, Qt.Key.Key_Delete)
    panel.choose("run", "r1")
    panel.set_read_only("Open for reading only.")
    with qtbot.assertNotEmitted(panel.rename_wanted, wait=50):
        qtbot.keyClick(panel.tree, Qt.Key.Key_F2)


def test_marked_rows_are_copied_in_the_order_shown(qtbot: QtBot, table: pd.DataFrame) -> None:
    panel = ParticleTablePanel()
    qtbot.addWidget(panel)
    panel.set_table(table)
    panel.show()
    panel.sort_by(column_of(panel.model, "volume_um3"))
    panel.view.setFocus()
    panel.view.selectAll()
    panel.activateWindow()
    qtbot.waitUntil(panel.view.hasFocus)
    qtbot.keyClick(panel.view, Qt.Key.Key_C, Qt.KeyboardModifier.ControlModifier)
    head, *lines = QGuiApplication.clipboard().text().splitlines()
    assert head.split("\t")[0] == "Particle"
    assert len(lines) == len(table)
    largest = table.label[table.volume_um3.sort_values(ascending=False).index].iloc[0]
    assert lines[0].split("\t")[0] == str(largest)


def test_the_table_keeps_its_particle_through_sorting_and_filtering(
    qtbot: QtBot, table: pd.DataFrame
) -> None:
    panel = ParticleTablePanel()
    qtbot.addWidget(panel)
    panel.set_table(table)
    panel.show()
    chosen: list[int] = []
    panel.particle_chosen.connect(chosen.append)
    panel.select_label(17)
    volume = column_of(panel.model, "volume_um3")
    panel.sort_by(volume)
    assert panel.model.label_of_row(0) == int(table.label.iloc[int(table.volume_um3.argmax())])
    assert panel.model.label_of_row(panel.view.currentIndex().row()) == 17
    panel.filter_box.setText("#18")
    panel.apply_filter()
    assert "1 of 340" in panel.count_label.text() and "filtered out" in panel.count_label.text()
    panel.filter_box.setText("nonsense >")
    panel.apply_filter()
    assert panel.problem_label.isVisible()
    assert panel.model.shown_count == 1  # what was understood last still holds
    panel.filter_box.clear()
    panel.apply_filter()
    assert panel.model.label_of_row(panel.view.currentIndex().row()) == 17
    assert chosen == []  # nothing of this was the user's choice


def test_the_filter_form_and_the_filter_text_say_the_same(
    qtbot: QtBot, table: pd.DataFrame
) -> None:
    panel = ParticleTablePanel()
    qtbot.addWidget(panel)
    panel.set_table(table)
    low, _high = panel._popup._fields["equivalent_diameter_um"]
    qtbot.keyClicks(low, "150")
    assert panel.filter_box.text() == "diameter >= 150"
    assert panel.model.shown_count == int((table.equivalent_diameter_um >= 150).sum())
    low.clear()
    panel.show()
    panel.popup_button.click()
    qtbot.keyClicks(low, "0.15 mm")
    assert panel.filter_box.text() == "diameter >= 150"
    qtbot.keyClicks(low, "!")
    assert low.property("invalid") and panel.filter_box.text() == ""
    panel._popup.hide()


def test_the_size_distribution_follows_weighting_and_filter(qtbot: QtBot) -> None:
    table = made_up_table(340)
    panel = SizeDistributionPanel()
    qtbot.addWidget(panel)
    panel.set_table(table)
    panel.show()
    by_volume = panel.distribution
    panel.set_weighting("number")
    by_number = panel.distribution
    assert by_volume is not None and by_number is not None
    assert by_number.d50 < by_volume.d50
    panel.set_shown(table.label[table.equivalent_diameter_um > 200].to_numpy())
    assert panel.distribution is not None and panel.distribution.d10 > 200
    panel.select_label(1)
    panel.set_table(table.iloc[:0])
    assert panel.distribution is None
    assert not panel.copy_button.isEnabled()
    assert panel.grab().width() > 0


def test_the_size_distribution_is_copied_for_a_spreadsheet(qtbot: QtBot) -> None:
    panel = SizeDistributionPanel()
    qtbot.addWidget(panel)
    panel.set_table(made_up_table(340))
    panel.show()
    found = panel.distribution
    assert found is not None
    qtbot.mouseClick(panel.copy_button, Qt.MouseButton.LeftButton)
    lines = [line.split("\t") for line in QGuiApplication.clipboard().text().splitlines()]
    assert lines[1] == ["D50", f"{found.d50:.6g}", "µm"]
    assert ["Particles", "340"] in lines
    classes = [line for line in lines if len(line) == 4][1:]
    assert len(classes) == len(found.bin_shares)
    assert sum(float(line[2]) for line in classes) == pytest.approx(100, abs=0.01)
    assert float(classes[-1][3]) == pytest.approx(100, abs=0.01)


@pytest.mark.parametrize("factor", [1.0, 30.0])
def test_d50_lies_on_the_curve_however_few_particles_there_are(qtbot: QtBot, factor: float) -> None:
    table = made_up_table(3)
    table["volume_um3"] = [1e3, 1e4 * factor**3, 1e5 * factor**3]
    plot = SizeDistributionPanel()
    qtbot.addWidget(plot)
    plot.set_table(table)
    assert plot.distribution is not None
    xs, shares = plot.plot._curve.getData()
    shown = 10 ** np.interp(50, shares, xs)
    assert shown == pytest.approx(plot.distribution.d50, rel=0.01)


@pytest.mark.parametrize(
    ("size_um", "text"), [(0.5, "0.5"), (150, "150"), (1500, "1500"), (20_000, "20\u202f000")]
)
def test_sizes_on_the_axis_are_plain_numbers(size_um: float, text: str) -> None:
    axis = SizeAxis("bottom")
    assert axis.tickStrings([math.log10(size_um)], 1.0, 0.5) == [text]


def test_every_icon_can_be_drawn(qtbot: QtBot) -> None:
    from particleseg_app.gui.icons import resources_folder

    for path in (resources_folder() / "icons").glob("*.svg"):
        picture = icon(path.stem).pixmap(24, 24).toImage()
        drawn = any(picture.pixelColor(x, y).alpha() for x in range(24) for y in range(24))
        assert drawn, path.name


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(8.2, "8 s"), (200, "3 min 20 s"), (3900, "1 h 5 min"), (90_000, "1 day 1 h")],
)
def test_durations_for_people(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


def test_numbers_for_people() -> None:
    assert format_bytes(2_140_000_000) == "2.1 GB"
    assert parse_number("1 234,5") == 1234.5
    assert parse_number("12 345") == 12345
    assert parse_number("5 5") is None
    assert parse_number("nan") is None


def test_the_command_line_knows_its_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert "ParticleSeg" in capsys.readouterr().out


def test_the_pictures_get_the_room_of_a_window_that_grows(qtbot: QtBot) -> None:
    from particleseg_app.gui.project_page import ProjectPage

    page = ProjectPage()
    qtbot.addWidget(page)
    page.resize(960, 600)
    page.show()
    page._side.show()
    page._arrange()
    for width in (960, 1280, 2560, 1280):
        page.resize(width, 700)
        qtbot.wait(20)
        _left, centre, right = page.splitter.sizes()
        assert centre > right, width
        assert right >= 330
    page.resize(2560, 1300)
    qtbot.wait(20)
    assert page.splitter.sizes()[2] <= 720
    # Whoever has moved a column finds it where it was.
    page.splitter.setSizes([290, 1000, 1270])
    page.splitter.splitterMoved.emit(1300, 2)
    page.resize(2500, 1300)
    qtbot.wait(20)
    assert page.splitter.sizes()[2] > 1000
    page.stop()


def test_the_same_theme_again_is_no_work(qapp: QApplication) -> None:
    """All widgets there are would be styled anew, which takes a while in a large window."""
    changes: list[None] = []
    theme.apply_theme(qapp, dark=True)
    theme.notifier.changed.connect(lambda: changes.append(None))
    theme.apply_theme(qapp, dark=True)
    assert changes == []
    theme.apply_theme(qapp, dark=False)
    assert len(changes) == 1

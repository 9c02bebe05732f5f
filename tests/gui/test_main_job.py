"""The main job in the true window: drop a stack, answer, wait, look, export, come back."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import tifffile
from made_up_results import write_scan
from PySide6.QtCore import Qt
from PySide6.QtGui import QImage
from pytestqt.qtbot import QtBot
from window_driver import Driver

from particleseg_app import segmentation
from particleseg_app.errors import CardError
from particleseg_app.gui import theme
from particleseg_app.gui.keys_dialog import KeysDialog, keys_of
from particleseg_app.gui.main_window import MainWindow
from particleseg_app.gui.settings import settings
from particleseg_app.progress import CancelToken
from particleseg_app.projects import Project

NewDriver = Callable[[str], Driver]


@pytest.fixture
def new_driver(qtbot: QtBot, qapp: object, tmp_path: Path) -> Iterator[NewDriver]:
    """Makes windows; whatever is still open is closed in the end."""
    theme.apply_theme(qapp, dark=False)  # type: ignore[arg-type]
    settings().setValue("last/projects_folder", str(tmp_path))
    drivers: list[Driver] = []

    def make(name: str) -> Driver:
        window = MainWindow()
        window.resize(1280, 800)
        window.show()
        drivers.append(Driver(qtbot, window, name))
        return drivers[-1]

    yield make
    for driver in drivers:
        if driver.window.isVisible():
            driver.window.session.jobs.cancel_all()
            driver.window._closing = True
            driver.close()
        driver.window.deleteLater()


def test_from_a_dropped_stack_to_a_csv_and_back(new_driver: NewDriver, tmp_path: Path) -> None:
    driver = new_driver("main_job")
    window, session = driver.window, driver.window.session
    driver.picture("start")
    driver.make_project(write_scan(tmp_path / "ore"), "Ore of May")
    driver.answer_wizard()
    driver.picture("running")
    driver.wait_for_result()
    page = window.project_page
    assert session.shown is not None and session.shown.table is not None
    table = session.shown.table
    assert 44 <= len(table) <= 48  # 3 × 4 × 4 balls were put there
    assert table.equivalent_diameter_um.median() == pytest.approx(120, rel=0.15)
    assert page.table.count_label.text().startswith(str(len(table)))
    assert "Run 1 is finished" in window.banner.text
    driver.picture("finished")

    # A click on a row goes to the particle …
    page.table.view.selectRow(7)
    chosen = page.table.model.label_of_row(7)
    assert page.selected == chosen
    driver.wait(lambda: page.slices.view("xy").picture.request.selected == chosen)
    row = table[table.label == chosen].iloc[0]
    z, y, x = page.slices.position
    assert row.box_z_min <= z < row.box_z_max
    assert row.box_y_min <= y < row.box_y_max
    assert row.box_x_min <= x < row.box_x_max
    # … and a click on a particle to its row.
    page.slices.label_clicked.emit(3)
    assert page.table.model.label_of_row(page.table.view.currentIndex().row()) == 3
    driver.picture("selected")

    page.table.filter_box.setText("diameter > 120")
    page.table.apply_filter()
    shown = page.table.model.shown_count
    assert shown == int((table.equivalent_diameter_um > 120).sum())
    assert page.sizes.distribution is not None
    assert page.sizes.distribution.particle_count == shown
    driver.picture("filtered")

    window.actions_.export_action.trigger()
    dialog = window.flows.export_dialog
    assert dialog is not None
    for box in dialog.boxes.values():
        box.setChecked(True)
    dialog.folder_edit.setText(str(tmp_path))
    dialog.name_edit.setText("ore")
    driver.picture("export", dialog)
    driver.qtbot.mouseClick(dialog.export_button, Qt.MouseButton.LeftButton)
    driver.wait(lambda: dialog.pages.currentIndex() == 1)
    driver.picture("exported", dialog)
    dialog.accept()
    written = pd.read_csv(tmp_path / "ore.csv")
    assert written.label.tolist() == table.label.tolist()
    provenance = json.loads((tmp_path / "ore.json").read_text())["provenance"]
    assert provenance["voxel_size_um"] == 10
    assert provenance["particle_diameter_um"] == 120
    assert tifffile.imread(tmp_path / "ore_labels.tif").max() == len(table)
    assert (tmp_path / "ore_labels.h5").exists()

    driver.close()
    again = new_driver("main_job_reopened")
    again.window.open_paths([tmp_path / "Ore of May"])
    again.wait_for_result()
    assert again.window.session.shown is not None
    pd.testing.assert_frame_equal(again.window.session.shown.table, table)
    again.picture("reopened")


def test_a_run_stopped_by_closing_can_be_continued(
    new_driver: NewDriver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver = new_driver("continued")
    window = driver.window
    driver.make_project(write_scan(tmp_path / "ore"), "Ore")
    driver.answer_wizard()
    asked: list[str] = []
    answers = iter([False, True])

    def sure(title: str, text: str, yes: str, no: str) -> bool:
        asked.append(title)
        return next(answers)

    monkeypatch.setattr(window.flows, "_sure", sure)
    assert window.session.jobs.busy
    window.close()
    assert window.isVisible() and not window._closing  # the user thought better of it
    if window.session.jobs.busy:  # it may have finished meanwhile on a fast computer
        driver.close()
        assert "still running" in asked[0]

        again = new_driver("continued")
        again.window.open_paths([tmp_path / "Ore"])
        session = again.window.session
        again.wait(lambda: session.shown is not None)
        (item,) = session.items()
        assert [run.status for run in item.runs] == ["unfinished"]
        again.window.project_page.projects.choose("run", item.runs[0].id)
        button = again.window.project_page.projects.continue_button
        assert button.isVisible()
        again.picture("unfinished")
        again.qtbot.mouseClick(button, Qt.MouseButton.LeftButton)
        again.wait_for_result()


def test_a_cancelled_run_offers_to_go_on(new_driver: NewDriver, tmp_path: Path) -> None:
    driver = new_driver("cancelled")
    window, session = driver.window, driver.window.session
    driver.make_project(write_scan(tmp_path / "ore"), "Ore")
    driver.answer_wizard()
    window.progress.cancel_button.click()
    driver.wait(lambda: not session.jobs.busy)
    if session.items()[0].runs[0].status == "finished":
        pytest.skip("the run was finished before it could be cancelled")
    assert "Run 1 is stopped" in window.banner.text
    driver.picture("stopped")
    window.banner.action_button.click()
    driver.wait_for_result()
    assert "Run 1 is finished" in window.banner.text


def test_a_run_that_the_graphics_card_failed_goes_on_on_the_processor(
    new_driver: NewDriver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver = new_driver("card_failed")
    window, session = driver.window, driver.window.session
    segment, calls = segmentation.segment, []

    def failing_once(*arguments: Any, **options: Any) -> Any:
        calls.append(1)
        if len(calls) == 1:
            raise CardError(
                "The graphics card reported an error (CUDA error: launch failed).",
                "Start the program anew and continue the run, or continue it on the processor.",
            )
        return segment(*arguments, **options)

    monkeypatch.setattr(segmentation, "segment", failing_once)
    driver.make_project(write_scan(tmp_path / "ore"), "Ore")
    driver.answer_wizard()
    driver.wait(lambda: bool(calls) and not session.jobs.busy)
    assert "graphics card reported an error" in window.banner.text
    assert window.banner.action_button.text() == "Continue on the processor"
    driver.picture("card_failed")
    window.banner.action_button.click()
    driver.wait_for_result()
    assert session.project is not None
    assert [run.settings["device"] for run in session.project.runs] == ["cpu"]


def test_a_cancelled_import_leaves_an_empty_project_that_says_so(
    new_driver: NewDriver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver = new_driver("import_cancelled")
    window, session = driver.window, driver.window.session
    begun = threading.Event()

    def wait_to_be_cancelled(_project: Project, _source: object, _p: object, cancel: CancelToken):
        begun.set()
        while True:
            cancel.check()

    monkeypatch.setattr(Project, "add_scan", wait_to_be_cancelled)
    driver.make_project(write_scan(tmp_path / "ore"), "Ore")
    driver.wait(begun.is_set)
    page = window.project_page
    assert "being copied" in page._empty_title.text()
    window.progress.cancel_button.click()
    driver.wait(lambda: not session.jobs.busy)
    assert "no scan yet" in page._empty_title.text()


def test_all_keys_stand_on_one_page(new_driver: NewDriver) -> None:
    driver = new_driver("keys")
    actions = driver.window.actions_
    keys = dict(keys_of(actions.with_keys()))
    assert keys["Ctrl + E"] == "export"
    assert keys["F1"] == "user guide"
    assert keys["Shift + F1"] == "keys"
    listed = {action.shortcut().toString() for action in actions.with_keys()}
    own = {action.shortcut().toString() for action in driver.window.actions()}
    assert own - {""} <= listed
    actions.keys_action.trigger()
    dialog = driver.window.findChild(KeysDialog)
    assert dialog is not None
    driver.picture("keys", dialog)
    dialog.accept()


def test_pictures_are_saved_for_a_report(
    new_driver: NewDriver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver = new_driver("pictures")
    window = driver.window
    assert not window.actions_.save_views_action.isEnabled()
    driver.make_project(write_scan(tmp_path / "ore"), "Ore")
    driver.answer_wizard()
    driver.wait_for_result()
    proposed: list[str] = []

    def choose(_parent: object, _title: str, place: str, _kinds: str) -> tuple[str, str]:
        proposed.append(Path(place).name)
        return str(tmp_path / f"figure{len(proposed)}"), ""

    monkeypatch.setattr("particleseg_app.gui.flows.QFileDialog.getSaveFileName", choose)
    for action, part in (
        (window.actions_.save_views_action, window.project_page.slices),
        (window.actions_.save_sizes_action, window.project_page.sizes),
    ):
        action.trigger()
        path = tmp_path / f"figure{len(proposed)}.png"
        driver.wait(path.exists)
        assert QImage(str(path)).width() == part.width()
        driver.wait(lambda path=path: path.name in window.banner.text)
    assert proposed == ["ore_Run_1_views.png", "ore_Run_1_sizes.png"]


def test_a_drop_on_an_open_project_adds_the_scan(new_driver: NewDriver, tmp_path: Path) -> None:
    driver = new_driver("added")
    session = driver.window.session
    driver.make_project(write_scan(tmp_path / "first"), "Two scans")
    driver.wizard().reject()
    driver.drop(write_scan(tmp_path / "second", seed=8))
    driver.wizard().reject()
    assert [scan.name for scan in session.items()] == ["first", "second"]
    driver.picture("two_scans")


def test_a_bad_folder_is_told_in_one_sentence_and_leaves_nothing(
    new_driver: NewDriver, tmp_path: Path
) -> None:
    driver = new_driver("bad")
    scan = write_scan(tmp_path / "broken")
    (scan / "slice_0010.tif").unlink()
    driver.drop(scan)
    banner = driver.window.banner
    driver.wait(lambda: "broken" in banner.text and "Checking" not in banner.text)
    driver.picture("missing_slice")
    assert driver.window.session.project is None
    assert driver.window.opening.new_project_dialog is None


def test_a_project_open_elsewhere_is_refused(new_driver: NewDriver, tmp_path: Path) -> None:
    driver = new_driver("locked")
    driver.make_project(write_scan(tmp_path / "ore"), "Ore")
    driver.wizard().reject()
    other = new_driver("locked")
    other.window.open_paths([tmp_path / "Ore"])
    assert "open" in other.window.banner.text
    assert other.window.session.project is None
    other.picture("refused")


def test_recent_projects_lead_back(new_driver: NewDriver, tmp_path: Path) -> None:
    driver = new_driver("recent")
    driver.make_project(write_scan(tmp_path / "ore"), "Ore")
    driver.wizard().reject()
    driver.close()
    again = new_driver("recent")
    recent = again.window.session.recent.list()
    assert [project.name for project in recent] == ["Ore"]
    again.picture("start")
    again.window.start_page.recent_opened.emit(recent[0].folder)
    assert again.window.session.project is not None
    assert again.window.windowTitle() == "Ore – ParticleSeg"
    again.window.opening.close_project()
    again.window.start_page.recent_removed.emit(recent[0].folder)
    assert again.window.session.recent.list() == []


@pytest.mark.slow
def test_the_bundled_network_on_a_small_scan(new_driver: NewDriver, tmp_path: Path) -> None:
    from particleseg_app.models import list_models, quickest_bundled_model

    if not list_models():
        pytest.skip("no model is bundled")
    driver = new_driver("network")
    driver.make_project(write_scan(tmp_path / "ore", (32, 48, 48)), "Network")
    driver.answer_wizard(classical=False, model=quickest_bundled_model())
    driver.wait_for_result()
    driver.picture("finished")
    shown = driver.window.session.shown
    assert shown is not None and shown.table is not None and len(shown.table) > 0


def test_what_a_run_says_of_its_particles_stays_in_the_window(
    new_driver: NewDriver, tmp_path: Path
) -> None:
    driver = new_driver("findings")
    window, session = driver.window, driver.window.session
    driver.make_project(write_scan(tmp_path / "ore"), "Dark")
    wizard = driver.wizard()
    assert session.project is not None
    driver.next()
    driver.qtbot.mouseClick(wizard.voxel_size_page.use_button, Qt.MouseButton.LeftButton)
    driver.next()
    wizard.diameter_page.field.edit.setText("120")
    driver.next()
    page = wizard.method_page
    driver.wait(lambda: page.models_known)
    page.classical_button.click()
    with session.project.open_scan("scan-001") as scan:
        page.threshold.edit.setText(f"{scan.statistics.maximum:g}")  # nothing is brighter
    driver.wait(lambda: page.cost.estimate_shown is not None)
    driver.next()
    driver.wait(lambda: "Run 1 is finished" in window.banner.text)
    assert "No particles were found. Check voxel size" in window.banner.text
    assert not window.banner._timer.isActive()  # it is read when the user is back
    driver.picture("nothing_found")
    (item,) = session.items()[0].runs
    assert item.detail == "0 particles"
    assert "No particles were found." in item.tip

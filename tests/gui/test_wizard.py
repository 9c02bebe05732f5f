"""The wizard: what it shows, what it proposes, and which answers it does not take."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from made_up_results import write_scan
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QLabel
from pytestqt.qtbot import QtBot

from particleseg_app.gui.formats import format_count
from particleseg_app.gui.guide_window import QUESTIONS, GuideWindow
from particleseg_app.gui.tasks import running_tasks
from particleseg_app.gui.viewers import Measurement
from particleseg_app.gui.wizard import SegmentationWizard, WizardScan
from particleseg_app.gui.wizard.scan_page import ScanPage
from particleseg_app.progress import CancelToken, Progress
from particleseg_app.segmentation import diameter_proposal
from particleseg_app.volumes import DiameterProposal, Scan, import_scan, inspect_source, open_scan


@pytest.fixture
def scan(tmp_path: Path) -> Iterator[Scan]:
    source = inspect_source(write_scan(tmp_path / "ore"))
    import_scan(source, tmp_path / "scan.h5", Progress(), CancelToken())
    with open_scan(tmp_path / "scan.h5") as opened:
        yield opened


@pytest.fixture
def wizard(qtbot: QtBot, scan: Scan, tmp_path: Path) -> Iterator[SegmentationWizard]:
    about = WizardScan(
        "ore",
        scan,
        proposed_voxel_size_um=10.0,
        voxel_size_origin="ImageJ metadata",
        project_folder=tmp_path,
    )
    # Not given to qtbot, which would delete it while its tasks still end.
    shown = SegmentationWizard(about)
    shown.show()
    yield shown
    with qtbot.waitSignal(shown.scan_released, timeout=60_000):
        shown.done(0)
    qtbot.waitUntil(lambda: not running_tasks(), timeout=60_000)
    shown.deleteLater()


def test_page_1_warns_of_nothing_in_a_good_scan(wizard: SegmentationWizard) -> None:
    assert wizard.scan_page.warnings == ()
    assert wizard.next_button.isEnabled()
    assert not wizard.back_button.isEnabled()


def test_its_key_opens_the_guide_at_the_questions(wizard: SegmentationWizard, qtbot: QtBot) -> None:
    wizard.activateWindow()
    qtbot.waitUntil(wizard.isActiveWindow)
    qtbot.keyClick(wizard, Qt.Key.Key_F1)
    qtbot.waitUntil(lambda: wizard.findChild(GuideWindow) is not None)
    assert wizard.findChild(GuideWindow).page.chapter_at_top() == QUESTIONS


def test_page_1_warns_of_a_slice_that_was_lost(qtbot: QtBot, tmp_path: Path) -> None:
    source = write_scan(tmp_path / "ore")
    slices = inspect_source(source).files
    shutil.copy(slices[11], slices[12])
    import_scan(inspect_source(source), tmp_path / "scan.h5", Progress(), CancelToken())
    with open_scan(tmp_path / "scan.h5") as scan:
        page = ScanPage(WizardScan("ore", scan))
        qtbot.addWidget(page)
        texts = [text.text() for text in page.findChildren(QLabel)]
        assert any(text.startswith("Slice 13 is the same") for text in texts)


def test_the_voxel_size_of_the_files_must_be_confirmed(wizard: SegmentationWizard) -> None:
    wizard.forward()
    page = wizard.voxel_size_page
    assert page.field.empty
    assert not wizard.next_button.isEnabled()
    assert wizard.answers.voxel_size_um is None
    page.use_button.click()
    assert wizard.answers.voxel_size_um == 10.0
    assert wizard.next_button.isEnabled()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("-4", "not possible"),
        ("0", "not possible"),
        ("ten", "not a length"),
        ("5 px", "not a length"),
        ("5 5", "not a length"),
        ("1e9", "between"),
    ],
)
def test_impossible_voxel_sizes_say_why_and_keep_one_there(
    wizard: SegmentationWizard, text: str, reason: str
) -> None:
    wizard.forward()
    field = wizard.voxel_size_page.field
    field.edit.setText(text)
    assert reason in field.problem
    assert not wizard.next_button.isEnabled()
    wizard.forward()
    assert wizard.current == 1


def test_a_decimal_comma_is_understood(wizard: SegmentationWizard) -> None:
    wizard.forward()
    wizard.voxel_size_page.field.edit.setText("13,15")
    assert wizard.answers.voxel_size_um == pytest.approx(13.15)


@pytest.mark.parametrize(
    ("text", "size_um", "beside"),
    [
        ("5 µm", 5.0, "µm"),
        ("5,5um", 5.5, "µm"),
        ("5 \u03bcm", 5.0, "µm"),  # the Greek letter
        ("0.0133 mm", 13.3, "= 13.3 µm"),
        ("500 nm", 0.5, "= 0.5 µm"),
    ],
)
def test_a_length_may_be_typed_with_its_unit(
    wizard: SegmentationWizard, text: str, size_um: float, beside: str
) -> None:
    wizard.forward()
    field = wizard.voxel_size_page.field
    field.edit.setText(text)
    assert wizard.answers.voxel_size_um == size_um
    assert wizard.next_button.isEnabled()
    assert beside in [shown.text() for shown in field.findChildren(QLabel)]


def answer_voxel_size(wizard: SegmentationWizard) -> None:
    wizard.forward()
    wizard.voxel_size_page.use_button.click()
    wizard.forward()


def test_the_program_proposes_a_diameter_that_one_click_takes(
    wizard: SegmentationWizard, qtbot: QtBot
) -> None:
    answer_voxel_size(wizard)
    page = wizard.diameter_page
    qtbot.waitUntil(lambda: page.proposal is not None, timeout=60_000)
    qtbot.waitUntil(page.use_proposal_button.isVisible)
    page.use_proposal_button.click()
    assert wizard.answers.particle_diameter_um == pytest.approx(120, rel=0.35)
    assert wizard.next_button.isEnabled()
    assert not page.doubt()


def test_a_diameter_far_from_the_proposal_is_doubted_but_taken(
    wizard: SegmentationWizard, qtbot: QtBot
) -> None:
    answer_voxel_size(wizard)
    page = wizard.diameter_page
    page.proposal = DiameterProposal(12.0, 11.0, 13.0, "good", "Measured.")
    page.field.edit.setText("75")
    assert page.doubt() == "Much smaller than the 120 µm that the program found."
    assert wizard.next_button.isEnabled()
    page.field.edit.setText("185")
    assert "larger" in page.doubt()
    page.field.edit.setText("100")
    assert not page.doubt()
    page.proposal = DiameterProposal(12.0, 5.0, 40.0, "poor", "Measured.")
    page.field.edit.setText("75")
    assert not page.doubt()


def test_nothing_looks_for_particles_while_time_is_measured(
    wizard: SegmentationWizard, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = []

    def endless(scan: Scan, progress: Progress, cancel: CancelToken) -> None:
        begun.append(cancel)
        while True:
            cancel.check()
            time.sleep(0.005)

    monkeypatch.setattr(diameter_proposal, "propose_diameter", endless)
    answer_voxel_size(wizard)
    qtbot.waitUntil(lambda: len(begun) == 1)
    wizard.diameter_page.field.edit.setText("120")
    wizard.forward()
    assert begun[0].cancelled
    wizard.back()  # and it begins anew, even where the first has not ended yet
    qtbot.waitUntil(lambda: len(begun) == 2)
    assert not begun[1].cancelled


def test_measurements_are_averaged_and_can_be_removed(wizard: SegmentationWizard) -> None:
    answer_voxel_size(wizard)
    page = wizard.diameter_page
    for length in (10.0, 12.0, 17.0):
        page.tool.add(Measurement("line", 0, 20, (20, 30, 20), (20, 30, 20 + length)))
    assert page.field.value == pytest.approx(130)
    page.tool.remove(2)
    assert page.field.value == pytest.approx(110)
    page.field.edit.setText("95")  # what is typed stands, whatever is measured then
    page.tool.add(Measurement("line", 0, 20, (20, 30, 20), (20, 30, 40)))
    assert page.field.value == pytest.approx(95)
    page.use_measured_button.click()
    assert page.field.value == pytest.approx(140)


def test_a_diameter_of_two_voxels_is_refused(wizard: SegmentationWizard) -> None:
    answer_voxel_size(wizard)
    wizard.diameter_page.field.edit.setText("20")
    assert "2 voxels" in wizard.diameter_page.field.problem
    assert not wizard.next_button.isEnabled()


def test_a_particle_wider_than_the_scan_is_refused_where_it_is_typed(
    wizard: SegmentationWizard, scan: Scan
) -> None:
    answer_voxel_size(wizard)
    wizard.diameter_page.field.edit.setText(f"{10 * max(scan.shape) + 10}")
    assert "wider than the whole scan" in wizard.diameter_page.field.problem
    assert not wizard.next_button.isEnabled()


def test_the_keyboard_leads_through_every_question(
    wizard: SegmentationWizard, qtbot: QtBot
) -> None:
    wizard.activateWindow()
    qtbot.waitUntil(wizard.isActiveWindow)
    wizard.forward()
    assert wizard.voxel_size_page.field.edit.hasFocus()
    qtbot.keyClicks(wizard.voxel_size_page.field.edit, "10")
    qtbot.keyClick(wizard.voxel_size_page.field.edit, Qt.Key.Key_Return)
    assert wizard.diameter_page.field.edit.hasFocus()
    qtbot.keyClicks(wizard.diameter_page.field.edit, "120")
    qtbot.keyClick(wizard.diameter_page.field.edit, Qt.Key.Key_Return)
    page = wizard.method_page
    qtbot.waitUntil(lambda: page.models_known and wizard.next_button.isEnabled(), timeout=60_000)
    assert page.network_button.hasFocus()
    reached = []
    while not wizard.next_button.hasFocus() and len(reached) < 12:
        focused = wizard.focusWidget()
        qtbot.keyClick(focused, Qt.Key.Key_Tab)
        reached.append(wizard.focusWidget())
    chooser = page.model_chooser
    for wanted in (chooser.box, chooser.import_button, page.device_box, wizard.next_button):
        assert wanted in reached


def test_the_classical_method_gives_settings_and_a_cost(
    wizard: SegmentationWizard, qtbot: QtBot
) -> None:
    from particleseg_app.segmentation import RunSettings

    answer_voxel_size(wizard)
    wizard.diameter_page.field.edit.setText("120")
    wizard.forward()
    page = wizard.method_page
    qtbot.waitUntil(lambda: page.models_known, timeout=60_000)
    page.classical_button.click()
    qtbot.waitUntil(lambda: page.cost.estimate_shown is not None, timeout=60_000)
    proposed = page.threshold.value
    assert proposed is not None and proposed == int(proposed)  # as the scan has them
    assert page.threshold.edit.text() == format_count(int(proposed))
    page.threshold.edit.setText("999999")
    assert f"No voxel has the grey value {format_count(999_999)}." in page.threshold.problem
    assert not wizard.next_button.isEnabled()
    assert page.problem() == "Correct the threshold to go on."
    page.threshold.edit.clear()
    assert page.problem() == "Enter a threshold to go on."
    page.threshold.edit.setText("21000")
    page.erosion.setValue(1)
    settings = RunSettings(**wizard.settings())
    assert (settings.method, settings.threshold, settings.erosion_radius) == (
        "threshwater",
        21000,
        1,
    )
    qtbot.waitUntil(lambda: page.cost.estimate_shown is not None, timeout=60_000)
    expected_s = page.expected_s
    with qtbot.waitSignal(wizard.answered) as signal:
        wizard.forward()
    assert signal.args[0]["particle_diameter_um"] == 120
    assert expected_s is not None and wizard.expected_s == expected_s > 0


def test_what_was_entered_goes_over_into_another_wizard(
    wizard: SegmentationWizard, scan: Scan, tmp_path: Path, qtbot: QtBot
) -> None:
    answer_voxel_size(wizard)
    page = wizard.diameter_page
    for length in (10.0, 12.0):
        page.tool.add(Measurement("line", 0, 20, (20, 30, 20), (20, 30, 20 + length)))
    page.field.edit.setText("95")
    wizard.forward()
    method = wizard.method_page
    qtbot.waitUntil(lambda: method.models_known, timeout=60_000)
    last = method.model_chooser.box.count() - 1
    method.model_chooser.box.setCurrentIndex(last)
    draft = {key: value for each in wizard.pages for key, value in each.draft().items()}
    about = WizardScan("ore", scan, project_folder=tmp_path)
    again = SegmentationWizard(about, draft=draft)
    again.show()
    assert again.diameter_page.tool.measurements == page.tool.measurements
    assert again.diameter_page.proposal is page.proposal
    assert again.settings()["particle_diameter_um"] == 95
    for _ in range(3):
        again.forward()
    qtbot.waitUntil(lambda: again.method_page.models_known, timeout=60_000)
    assert again.settings() == wizard.settings()
    with qtbot.waitSignal(again.scan_released, timeout=60_000):
        again.reject()
    qtbot.waitUntil(lambda: not running_tasks(), timeout=60_000)
    again.deleteLater()


def test_a_full_disk_keeps_one_from_starting(
    wizard: SegmentationWizard, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    import shutil

    monkeypatch.setattr(
        shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**12, 10**12, 1000)
    )
    answer_voxel_size(wizard)
    wizard.diameter_page.field.edit.setText("120")
    wizard.forward()
    page = wizard.method_page
    qtbot.waitUntil(lambda: page.models_known, timeout=60_000)
    page.classical_button.click()
    qtbot.waitUntil(lambda: page.cost.estimate_shown is not None, timeout=60_000)
    assert "too little space" in page.problem()
    assert not wizard.next_button.isEnabled()

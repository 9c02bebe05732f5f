"""Importing and removing models on the wizard's page of methods, with true models and widgets."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from made_up_results import write_scan
from PySide6.QtCore import QMimeData, QPoint, QPointF, Qt, QUrl
from PySide6.QtGui import QDragEnterEvent, QDropEvent
from PySide6.QtWidgets import QFileDialog, QScrollArea
from pytestqt.qtbot import QtBot

from particleseg_app.gui.icons import resources_folder
from particleseg_app.gui.tasks import running_tasks
from particleseg_app.gui.wizard import SegmentationWizard, WizardScan
from particleseg_app.gui.wizard.method_page import MethodPage
from particleseg_app.models import list_models
from particleseg_app.progress import CancelToken, Progress
from particleseg_app.volumes import import_scan, inspect_source, open_scan

sys.path.insert(0, str(Path(__file__).parents[2]))
from tests.models.tiny_model import write_tiny_model

LONG_MS = 60_000


@pytest.fixture
def bundled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "resources" / "models" / "default"
    shutil.copytree(resources_folder() / "icons", tmp_path / "resources" / "icons")
    monkeypatch.setenv("PARTICLESEG_RESOURCES", str(tmp_path / "resources"))
    write_tiny_model(folder, card_changes={"name": "default", "title": "Default model"})
    return folder


@pytest.fixture
def page(qtbot: QtBot, bundled: Path, tmp_path: Path) -> Iterator[MethodPage]:
    source = inspect_source(write_scan(tmp_path / "ore"))
    import_scan(source, tmp_path / "scan.h5", Progress(), CancelToken())
    with open_scan(tmp_path / "scan.h5") as scan:
        about = WizardScan("ore", scan, 10.0, 120.0, project_folder=tmp_path)
        wizard = SegmentationWizard(about)
        wizard.show()
        wizard.go_to(3)
        method_page = wizard.method_page
        qtbot.waitUntil(lambda: method_page.models_known, timeout=LONG_MS)
        yield method_page
        with qtbot.waitSignal(wizard.scan_released, timeout=LONG_MS):
            wizard.done(0)
        qtbot.waitUntil(lambda: not running_tasks(), timeout=LONG_MS)
        wizard.deleteLater()


def _titles(page: MethodPage) -> list[str]:
    box = page.model_chooser.box
    return [box.itemText(number) for number in range(box.count())]


def _drop(page: MethodPage, path: Path) -> bool:
    """Real drag and drop events; False when the page does not take what is dragged."""
    mime = QMimeData()
    mime.setUrls([QUrl.fromLocalFile(str(path))])
    left, none = Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
    copy = Qt.DropAction.CopyAction
    entering = QDragEnterEvent(QPoint(90, 90), copy, mime, left, none)
    entering.ignore()
    page.dragEnterEvent(entering)
    if entering.isAccepted():
        page.dropEvent(QDropEvent(QPointF(90, 90), copy, mime, left, none))
    return entering.isAccepted()


def _wait(page: MethodPage, qtbot: QtBot) -> None:
    qtbot.waitUntil(lambda: not page.model_chooser.busy, timeout=LONG_MS)


def test_a_folder_is_imported_and_chosen(
    page: MethodPage, qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_tiny_model(tmp_path / "soil_model").folder
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: str(folder))
    chooser = page.model_chooser
    assert _titles(page) == ["Default model"]
    assert not chooser.more_button.isVisible()
    qtbot.mouseClick(chooser.import_button, Qt.MouseButton.LeftButton)
    assert chooser.import_menu.isVisible()
    chooser.import_menu.close()
    chooser.folder_action.trigger()
    assert chooser.busy
    assert not chooser.import_button.isEnabled()
    assert page.problem()
    _wait(page, qtbot)
    assert _titles(page) == ["Default model", "soil model"]
    assert chooser.box.currentText() == "soil model"
    assert page.run_answers()["model"] == "soil_model"
    assert chooser.problem == page.problem() == ""
    assert [entry.name for entry in list_models()] == ["default", "soil_model"]
    assert (tmp_path / "user data" / "models" / "soil_model").is_dir()


def test_a_zip_file_is_imported(
    page: MethodPage, qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_tiny_model(tmp_path / "soil_model")
    archive = shutil.make_archive(str(tmp_path / "zipped"), "zip", tmp_path, "soil_model")
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_: (archive, ""))
    page.model_chooser.zip_action.trigger()
    _wait(page, qtbot)
    assert page.run_answers()["model"] == "zipped"


def test_a_model_dropped_on_the_page_is_imported(
    page: MethodPage, qtbot: QtBot, tmp_path: Path
) -> None:
    page.classical_button.click()
    assert _drop(page, write_tiny_model(tmp_path / "dropped").folder)
    assert not _drop(page, tmp_path)  # one at a time
    _wait(page, qtbot)
    assert page.run_answers()["model"] == "dropped"
    assert not _drop(page, tmp_path / "scan.h5")


def test_what_is_no_model_is_refused_beside_the_list(
    page: MethodPage, qtbot: QtBot, tmp_path: Path
) -> None:
    (tmp_path / "thesis").mkdir()
    chooser = page.model_chooser
    assert _drop(page, tmp_path / "thesis")
    _wait(page, qtbot)
    assert chooser.problem.startswith("No nnU-Net model was found in thesis.")
    assert _titles(page) == ["Default model"]
    assert page.run_answers()["model"] == "default"
    chooser.import_path(write_tiny_model(tmp_path / "good").folder)
    _wait(page, qtbot)
    assert chooser.problem == ""


def test_an_imported_model_can_be_removed(page: MethodPage, qtbot: QtBot, tmp_path: Path) -> None:
    chooser = page.model_chooser
    chooser.import_path(write_tiny_model(tmp_path / "mine").folder)
    _wait(page, qtbot)
    assert chooser.more_button.isVisible()
    for agreed in (False, True):
        assert chooser.box.currentText() == "mine"
        chooser.remove_action.trigger()
        question = chooser.removal_question
        assert question is not None
        assert "mine" in question.title.text()
        button = question.agree_button if agreed else question.keep_button
        assert button.text() == ("Remove" if agreed else "Cancel")
        qtbot.mouseClick(button, Qt.MouseButton.LeftButton)
        _wait(page, qtbot)
    assert _titles(page) == ["Default model"]
    assert page.run_answers()["model"] == "default"
    assert not chooser.more_button.isVisible()
    assert [entry.name for entry in list_models()] == ["default"]


def test_without_any_model_one_can_be_imported(
    qtbot: QtBot, bundled: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    shutil.rmtree(bundled)
    page: MethodPage = request.getfixturevalue("page")
    assert page.method == "threshwater"
    page.network_button.click()
    assert "No model is installed" in page.problem()
    page.model_chooser.import_path(write_tiny_model(tmp_path / "first").folder)
    _wait(page, qtbot)
    assert page.run_answers()["model"] == "first"
    assert page.problem() == ""


def test_two_bundled_models_say_what_each_is_for_and_what_it_costs(
    page: MethodPage, qtbot: QtBot, bundled: Path
) -> None:
    write_tiny_model(
        bundled.parent / "light",
        card_changes={
            "name": "light",
            "title": "Light model",
            "target_diameter_voxels": 24,
            "purpose": "Quicker, a little less accurate.",
        },
    )
    page.model_chooser.set_models(list_models())
    wizard = page.window()
    assert isinstance(wizard, SegmentationWizard)
    wizard.answers.voxel_size_um, wizard.answers.particle_diameter_um = 10.0, 120.0
    scales = {}
    for number, name in enumerate(("default", "light")):
        page.model_chooser.box.setCurrentIndex(number)
        assert page.run_answers()["model"] == name
        cost = page.cost
        qtbot.waitUntil(lambda cost=cost: cost.estimate_shown is not None, timeout=LONG_MS)
        assert cost.estimate_shown is not None
        scales[name] = cost.estimate_shown.scale_factor
    assert scales == {"default": 1.0, "light": 2.0}
    assert _titles(page) == ["Default model", "Light model"]
    assert page._model_text.text().startswith("Quicker, a little less accurate.")


def test_closing_the_wizard_does_not_spoil_an_import(page: MethodPage, tmp_path: Path) -> None:
    page.model_chooser.import_path(write_tiny_model(tmp_path / "late").folder)
    assert page.model_chooser.busy  # the fixture closes the wizard and waits


def test_nothing_of_the_page_is_cut_off_in_the_smallest_wizard(
    page: MethodPage, qtbot: QtBot
) -> None:
    wizard = page.window()
    wizard.resize(wizard.minimumSize())
    scroll = page.findChild(QScrollArea)
    assert scroll is not None
    content = scroll.widget()
    qtbot.waitUntil(lambda: page.isVisible())
    assert content.minimumSizeHint().width() <= scroll.viewport().width()


def test_a_hostile_zip_dropped_on_the_page_is_refused_in_a_sentence(
    page: MethodPage, qtbot: QtBot, tmp_path: Path
) -> None:
    folder = write_tiny_model(tmp_path / "mine").folder
    with (folder / "fold_0" / "checkpoint_final.pth").open("wb") as file:
        file.truncate(64 * 2**20)
    archive = Path(shutil.make_archive(str(tmp_path / "mine"), "zip", folder))
    assert _drop(page, archive)
    _wait(page, qtbot)
    assert "when it is unpacked" in page.model_chooser.problem
    assert "particleseg-model-" not in page.model_chooser.problem
    assert _titles(page) == ["Default model"]
    assert page.problem() == ""


def test_a_card_shows_its_text_and_nothing_else(
    page: MethodPage, qtbot: QtBot, tmp_path: Path
) -> None:
    evil = '<img src="http://example.org/seen.png"><b>Trust me</b>'
    folder = write_tiny_model(tmp_path / "evil", card_changes={"limits": evil}).folder
    page.model_chooser.import_path(folder)
    _wait(page, qtbot)
    shown = page._model_text
    assert evil in shown.text()
    assert shown.textFormat() == Qt.TextFormat.PlainText
    for tip in (shown.toolTip(), page.model_chooser.box.toolTip()):
        assert "Trust me" in tip
        assert "<img" not in tip
        assert "<b>" not in tip

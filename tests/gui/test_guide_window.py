"""The user guide: opened by its key, read by chapters and links, from the guide's folder only."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from PySide6.QtCore import QCoreApplication, QEvent, QPoint, Qt, QUrl
from PySide6.QtGui import QDesktopServices, QImage, QTextDocument
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot
from review_driver import Reviewer

from particleseg_app.gui import theme
from particleseg_app.gui.guide_page import PICTURE_WIDTH
from particleseg_app.gui.guide_window import (
    GUIDE,
    PARTICLES,
    QUESTIONS,
    REVIEW,
    GuideWindow,
    documentation_folder,
)
from particleseg_app.gui.main_window import MainWindow

PICTURE = QTextDocument.ResourceType.ImageResource.value


@pytest.fixture
def guide(qtbot: QtBot, qapp: QApplication) -> Iterator[GuideWindow]:
    theme.apply_theme(qapp, False)
    window = GuideWindow()
    window.show()
    yield window
    window.close()
    QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)


def names(guide: GuideWindow) -> list[str]:
    items = [guide.chapters.item(number) for number in range(guide.chapters.count())]
    return [item.text().strip() for item in items]


def test_its_key_opens_one_guide(qtbot: QtBot) -> None:
    window = MainWindow()
    window.show()
    window.activateWindow()
    qtbot.waitUntil(window.isActiveWindow)
    qtbot.keyClick(window, Qt.Key.Key_F1)
    qtbot.waitUntil(lambda: window.findChild(GuideWindow) is not None)
    window.actions_.guide_action.trigger()
    assert len(window.findChildren(GuideWindow)) == 1
    assert window.isEnabled(), "the guide stays open beside the window"
    window.close()


def test_its_key_leads_to_the_chapter_of_what_is_shown(reviewer: Reviewer) -> None:
    reviewer.start()
    reviewer.wait_for_case()
    window = reviewer.window
    window.actions_.guide_action.trigger()
    guide = window.findChild(GuideWindow)
    assert guide is not None
    assert guide.page.chapter_at_top() == REVIEW
    guide.show_page("review.md")
    window.actions_.guide_action.trigger()
    assert guide.page.chapter_at_top() == REVIEW


def test_places_of_the_window_lead_to_chapters_that_are_there(guide: GuideWindow) -> None:
    assert {QUESTIONS, PARTICLES, REVIEW} <= set(names(guide))


def test_a_click_on_a_chapter_shows_it(guide: GuideWindow, qtbot: QtBot) -> None:
    assert names(guide)[0] == "1. Open the scan"
    assert "6. Export" in names(guide)
    number = names(guide).index("5. Review the doubtful ones")
    place = guide.chapters.visualItemRect(guide.chapters.item(number)).center()
    qtbot.mouseClick(guide.chapters.viewport(), Qt.MouseButton.LeftButton, pos=place)
    assert guide.page.chapter_at_top() == "5. Review the doubtful ones"
    seen = guide.page.cursorForPosition(QPoint(40, 24)).block().text()
    assert seen == "5. Review the doubtful ones"


def test_the_last_chapter_is_marked_when_clicked(guide: GuideWindow, qtbot: QtBot) -> None:
    last = guide.chapters.item(guide.chapters.count() - 1)
    place = guide.chapters.visualItemRect(last).center()
    qtbot.mouseClick(guide.chapters.viewport(), Qt.MouseButton.LeftButton, pos=place)
    bar = guide.page.verticalScrollBar()
    assert bar.value() == bar.maximum()
    assert guide.chapters.currentItem() is last
    bar.setValue(0)
    assert guide.chapters.currentItem() is not last


def test_the_chapter_being_read_is_marked(guide: GuideWindow) -> None:
    bar = guide.page.verticalScrollBar()
    bar.setValue(bar.maximum() // 2)
    marked = guide.chapters.currentItem()
    assert marked is not None
    assert marked.text().strip() == guide.page.chapter_at_top()


def test_long_chapters_are_listed_in_full(guide: GuideWindow) -> None:
    guide.show_page("models.md")
    rows = {name: number for number, name in enumerate(names(guide))}
    items = [guide.chapters.item(number) for number in rows.values()]
    heights = [guide.chapters.visualItemRect(item).height() for item in items]
    line = guide.chapters.fontMetrics().height()
    assert heights[rows["Target"]] < 2 * line
    assert heights[rows["Target diameter and border thickness"]] > 2 * line


def test_a_link_leads_to_another_page_and_back(guide: GuideWindow) -> None:
    back = guide._back
    assert not back.isVisible()
    guide.page.anchorClicked.emit(QUrl("descriptors.md#surface-area-and-its-error"))
    assert "Files" in names(guide)
    assert guide.page.chapter_at_top() == "Surface area and its error"
    assert back.isVisible()
    back.click()
    assert names(guide)[0] == "1. Open the scan"
    assert not back.isVisible()


def test_every_link_of_the_guide_leads_somewhere(guide: GuideWindow) -> None:
    found, block = set(), guide.page.document().begin()
    while block.isValid():
        pieces = block.begin()
        while not pieces.atEnd():
            found.add(pieces.fragment().charFormat().anchorHref())
            pieces += 1
        block = block.next()
    links = [QUrl(link) for link in found if link]
    assert len(links) >= 5
    for link in links:
        page = link.path() or GUIDE
        assert (documentation_folder() / page).is_file(), link
        if link.hasFragment():
            guide.page.show_page(page, link.fragment())
            assert guide.page.chapter_at_top(), link


def test_a_page_of_long_tables_is_laid_out_once(guide: GuideWindow) -> None:
    changes: list[int] = []
    guide.page.document().contentsChange.connect(lambda *_: changes.append(1))
    guide.show_page("accuracy.md")
    assert "Other seeds" in names(guide)
    # Each one lays out all tables anew, of which this page has many.
    assert len(changes) < 10


def test_pictures_fit_the_text(guide: GuideWindow) -> None:
    picture = guide.page.loadResource(PICTURE, QUrl("pictures/result.png"))
    assert isinstance(picture, QImage)
    assert picture.deviceIndependentSize().width() == PICTURE_WIDTH


def test_nothing_outside_its_folder_is_read(
    tmp_path: Path, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / GUIDE).write_text("# Guide\n\n## One\n\n![](../secret.png)\n")
    (tmp_path / "secret.md").write_text("# Secret\n")
    assert QImage(8, 8, QImage.Format.Format_RGB32).save(str(tmp_path / "secret.png"))
    window = GuideWindow(folder=tmp_path / "docs")
    assert window.page.loadResource(PICTURE, QUrl("../secret.png")) is None
    assert window.page.loadResource(PICTURE, QUrl("https://example.org/a.png")) is None
    opened: list[QUrl] = []
    monkeypatch.setattr(QDesktopServices, "openUrl", opened.append)
    window.page.anchorClicked.emit(QUrl("../secret.md"))
    assert "Secret" not in window.page.toPlainText()
    window.page.anchorClicked.emit(QUrl("file:///etc/passwd"))
    assert opened == []
    window.page.anchorClicked.emit(QUrl("https://example.org/"))
    assert opened == [QUrl("https://example.org/")]
    window.close()


def test_a_guide_that_is_missing_is_told(tmp_path: Path, qtbot: QtBot) -> None:
    window = GuideWindow(folder=tmp_path)
    assert "does not lie beside the program" in window.page.toPlainText()
    assert window.chapters.count() == 0
    window.close()


def test_another_theme_keeps_the_place(guide: GuideWindow, qapp: QApplication) -> None:
    bar = guide.page.verticalScrollBar()
    bar.setValue(1500)
    theme.apply_theme(qapp, True)
    assert bar.value() == 1500
    assert guide.page.palette().base().color() == theme.colour(theme.current().panel)
    theme.apply_theme(qapp, False)

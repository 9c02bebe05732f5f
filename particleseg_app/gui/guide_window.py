"""The user guide beside the window: its chapters, its pictures and the pages it points to."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QEvent, QSize, Qt
from PySide6.QtGui import QKeySequence
from PySide6.QtWidgets import (
    QDialog,
    QFrame,
    QListWidget,
    QListWidgetItem,
    QVBoxLayout,
    QWidget,
)

from particleseg_app.gui.guide_page import MARGIN, TEXT_WIDTH, GuidePage
from particleseg_app.gui.style import button, row

GUIDE = "user_guide.md"
# Chapters of the guide that places in the window lead to.
QUESTIONS = "2. Answer two questions"
PARTICLES = "4. Look at the particles"
REVIEW = "5. Review the doubtful ones"
_CHAPTERS_WIDTH = 240
_CHAPTER_SIDES, _CHAPTER_ENDS = 18, 6  # free space beside an entry, above and below it


def documentation_folder() -> Path:
    return Path(__file__).parents[2] / "docs"


class GuideWindow(QDialog):
    """The user guide with its chapters at the side; stays open beside the window."""

    def __init__(self, parent: QWidget | None = None, folder: Path | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle("User guide")
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self._visited: list[str] = []  # pages, the one shown last
        self._going = False  # to the chapter that was clicked
        self.page = GuidePage(folder or documentation_folder())
        self.chapters = QListWidget()
        self.chapters.setFrameShape(QFrame.Shape.NoFrame)
        self.chapters.setFixedWidth(_CHAPTERS_WIDTH)
        self.chapters.setWordWrap(True)
        self.chapters.setStyleSheet(
            "QListWidget { border: none; border-right: 1px solid palette(mid); padding: 14px 0; }"
            f"QListWidget::item {{ padding: {_CHAPTER_ENDS}px {_CHAPTER_SIDES}px; }}"
        )
        self.chapters.setAccessibleName("Chapters")
        self.chapters.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.chapters.itemClicked.connect(self._chapter_chosen)
        self.chapters.currentItemChanged.connect(self._chapter_chosen)
        self._back = button("Back", self.back)
        self._back.setShortcut(QKeySequence(QKeySequence.StandardKey.Back))
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(0)
        both = row(self.chapters, self.page, spacing=0)
        both.setStretch(1, 1)
        layout.addLayout(both, 1)
        foot = row(self._back, None, button("Close", self.accept, primary=True))
        foot.setContentsMargins(16, 10, 16, 12)
        layout.addLayout(foot)
        self.resize(_CHAPTERS_WIDTH + TEXT_WIDTH + 2 * MARGIN + 16, 780)
        self.page.page_wanted.connect(self.show_page)
        self.page.verticalScrollBar().valueChanged.connect(lambda _: self._mark_chapter())
        self.show_page(GUIDE)

    def show_page(self, name: str, chapter: str = "") -> None:
        """Show a page and its chapters; `back` leads to the one before."""
        if not self._visited or self._visited[-1] != name:
            self._visited.append(name)
        self._show(name, chapter)

    def back(self) -> None:
        if len(self._visited) > 1:
            self._visited.pop()
            self._show(self._visited[-1], "")

    def _show(self, name: str, chapter: str) -> None:
        self.page.show_page(name, chapter)
        self._back.setVisible(len(self._visited) > 1)
        self.chapters.blockSignals(True)
        self.chapters.clear()
        for level, text in self.page.chapters():
            if level in (2, 3):
                item = QListWidgetItem("    " * (level - 2) + text)
                item.setData(Qt.ItemDataRole.UserRole, text)
                item.setSizeHint(self._chapter_size(item.text()))
                self.chapters.addItem(item)
        self.chapters.blockSignals(False)
        self._mark_chapter()

    def _chapter_size(self, text: str) -> QSize:
        """Of an entry with all its lines: the list's own guess forgets the space at the sides."""
        width = _CHAPTERS_WIDTH - 2 * _CHAPTER_SIDES - 8
        lines = self.chapters.fontMetrics().boundingRect(
            0, 0, width, 1000, Qt.TextFlag.TextWordWrap.value, text
        )
        return QSize(width, lines.height() + 2 * _CHAPTER_ENDS)

    def _mark_chapter(self) -> None:
        """Mark the chapter that is being read."""
        if self._going:
            return
        reading = self.page.chapter_at_top()
        self.chapters.blockSignals(True)
        items = [self.chapters.item(number) for number in range(self.chapters.count())]
        names = [item.data(Qt.ItemDataRole.UserRole) for item in items]
        self.chapters.setCurrentRow(names.index(reading) if reading in names else -1)
        self.chapters.blockSignals(False)

    def changeEvent(self, event: QEvent) -> None:  # noqa: N802
        """Tables and headings are drawn anew in the colours of another theme."""
        super().changeEvent(event)
        if event.type() == QEvent.Type.PaletteChange and self._visited:
            place = self.page.verticalScrollBar().value()
            self._show(self._visited[-1], "")
            self.page.verticalScrollBar().setValue(place)

    def _chapter_chosen(self, item: QListWidgetItem | None) -> None:
        if item is not None:
            # The last chapters cannot be scrolled to the top, and are marked nevertheless.
            self._going = True
            self.page.go_to(item.data(Qt.ItemDataRole.UserRole))
            self._going = False


def show_guide(parent: QWidget, chapter: str = "") -> None:
    """Open the guide beside a window, or bring the one that is open to the front; at a chapter."""
    already = parent.findChild(GuideWindow)
    guide = already if already is not None else GuideWindow(parent)
    guide.show()  # before that it is not known how far it can be scrolled
    guide.raise_()
    guide.activateWindow()
    if chapter:
        guide.show_page(GUIDE, chapter)

"""The user guide beside the window: its chapters, its pictures and the pages it points to."""

from __future__ import annotations

import re
from pathlib import Path

from PySide6.QtCore import QEvent, QSize, Qt, QUrl, Signal
from PySide6.QtGui import (
    QDesktopServices,
    QFont,
    QImage,
    QKeySequence,
    QTextBlock,
    QTextBlockFormat,
    QTextCharFormat,
    QTextCursor,
    QTextDocument,
    QTextFrameFormat,
    QTextLength,
    QTextTable,
)
from PySide6.QtWidgets import (
    QDialog,
    QFrame,
    QListWidget,
    QListWidgetItem,
    QTextBrowser,
    QTextEdit,
    QVBoxLayout,
    QWidget,
)

from particleseg_app.gui import theme
from particleseg_app.gui.style import button, row

GUIDE = "user_guide.md"
# Chapters of the guide that places in the window lead to.
QUESTIONS = "2. Answer two questions"
PARTICLES = "4. Look at the particles"
REVIEW = "5. Review the doubtful ones"
# A line of text longer than this is hard to follow.
TEXT_WIDTH = 760
PICTURE_WIDTH = 720
_MARGIN = 28
_CHAPTERS_WIDTH = 240
_CHAPTER_SIDES, _CHAPTER_ENDS = 18, 6  # free space beside an entry, above and below it
_MOST_BYTES = 8 * 1024**2
# Sizes of headings in points, by their level.
_HEADINGS = {1: 20.0, 2: 15.0, 3: 12.0}


def documentation_folder() -> Path:
    return Path(__file__).parents[2] / "docs"


class GuidePage(QTextBrowser):
    """One page of the documentation, styled as the window is. Reads files of `folder` only."""

    page_wanted = Signal(str, str)  # another page of the folder, and the chapter there or nothing

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder = folder.resolve()
        self.setOpenLinks(False)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setAccessibleName("User guide")
        self.document().setDocumentMargin(_MARGIN)
        self.setLineWrapMode(QTextEdit.LineWrapMode.FixedPixelWidth)
        self.setLineWrapColumnOrWidth(TEXT_WIDTH + 2 * _MARGIN)
        self.anchorClicked.connect(self._follow)

    def show_page(self, name: str, chapter: str = "") -> None:
        """Show a page of the folder, from a heading on; where there is none, say so."""
        path = self._folder / name
        try:
            if path.stat().st_size > _MOST_BYTES:
                raise OSError("it is too large")
            text = path.read_text(encoding="utf-8")
        except (OSError, ValueError):
            text = (
                f"The page {name} does not lie beside the program. Please install the program anew."
            )
        self.document().setBaseUrl(QUrl.fromLocalFile(str(self._folder / "page.md")))
        # Marks that tables are written between.
        self.setMarkdown(re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL))
        self._style()
        self.moveCursor(QTextCursor.MoveOperation.Start)
        self.go_to(chapter)

    def chapters(self) -> list[tuple[int, str]]:
        """Level and text of every heading of the page shown."""
        return [(block.blockFormat().headingLevel(), block.text()) for block in self._headings()]

    def go_to(self, chapter: str) -> None:
        """Scroll to a heading, named by its text or as links name it."""
        for block in self._headings():
            if chapter and chapter in (block.text(), _as_link(block.text())):
                self.verticalScrollBar().setValue(self._top_of(block))
                return

    def chapter_at_top(self) -> str:
        """The heading that what is seen at the top stands under."""
        seen = self.verticalScrollBar().value() + 1
        above = [block.text() for block in self._headings() if self._top_of(block) <= seen]
        return above[-1] if above else ""

    def loadResource(self, kind: int, name: QUrl | str) -> object:  # noqa: N802
        """Pictures of the folder, made to fit the text; nothing else is read."""
        url = self.document().baseUrl().resolved(QUrl(name))
        if kind != QTextDocument.ResourceType.ImageResource.value or not url.isLocalFile():
            return None
        path = Path(url.toLocalFile()).resolve()
        if not path.is_relative_to(self._folder):
            return None
        picture = QImage(str(path))
        if picture.isNull():
            return None
        ratio = self.devicePixelRatioF()
        if picture.width() > PICTURE_WIDTH * ratio:
            smooth = Qt.TransformationMode.SmoothTransformation
            picture = picture.scaledToWidth(round(PICTURE_WIDTH * ratio), smooth)
        picture.setDevicePixelRatio(ratio)
        return picture

    def _headings(self) -> list[QTextBlock]:
        found, block = [], self.document().begin()
        while block.isValid():
            if block.blockFormat().headingLevel():
                found.append(block)
            block = block.next()
        return found

    def _top_of(self, block: QTextBlock) -> int:
        return round(self.document().documentLayout().blockBoundingRect(block).top()) - 12

    def _style(self) -> None:
        """Line height, space and sizes: what is read from Markdown comes without any."""
        colours = theme.current()
        cursor = QTextCursor(self.document())
        cursor.beginEditBlock()  # laid out once, not after every change
        block = self.document().begin()
        while block.isValid():
            cursor.setPosition(block.position())
            if cursor.currentTable() is not None:
                block = block.next()
                continue
            layout, level = block.blockFormat(), block.blockFormat().headingLevel()
            # A line that holds a picture is as high as it.
            if "\N{OBJECT REPLACEMENT CHARACTER}" not in block.text():
                proportional = QTextBlockFormat.LineHeightTypes.ProportionalHeight
                layout.setLineHeight(135, proportional.value)
            layout.setTopMargin(22 if level else 3)
            layout.setBottomMargin(8 if level else 7)
            cursor.setBlockFormat(layout)
            if level:
                look = QTextCharFormat()
                look.setFontPointSize(_HEADINGS.get(level, 11.0))
                look.setFontWeight(QFont.Weight.DemiBold)
                cursor.select(QTextCursor.SelectionType.BlockUnderCursor)
                cursor.mergeCharFormat(look)
            block = block.next()
        for frame in self.document().rootFrame().childFrames():
            if isinstance(frame, QTextTable):
                style = frame.format().toTableFormat()
                style.setBorderCollapse(True)
                style.setBorder(1)
                style.setBorderStyle(QTextFrameFormat.BorderStyle.BorderStyle_Solid)
                style.setBorderBrush(theme.colour(colours.border))
                style.setCellPadding(6)
                style.setTopMargin(8)
                style.setBottomMargin(14)
                style.setWidth(QTextLength())
                frame.setFormat(style)
        cursor.endEditBlock()

    def _follow(self, link: QUrl) -> None:
        """A page of the guide is shown here, another address by the web browser."""
        if link.scheme() in ("http", "https"):
            QDesktopServices.openUrl(link)
            return
        name = Path(link.path()).name
        if not name or name == "page.md":
            self.go_to(link.fragment())
        elif name.endswith(".md"):
            self.page_wanted.emit(name, link.fragment())


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
        self.resize(_CHAPTERS_WIDTH + TEXT_WIDTH + 2 * _MARGIN + 16, 780)
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


def _as_link(heading: str) -> str:
    """A heading as links to it are written: small letters, hyphens for spaces."""
    kept = re.sub(r"[^\w\- ]", "", heading.lower())
    return kept.replace(" ", "-")

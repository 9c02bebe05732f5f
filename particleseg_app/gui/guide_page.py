"""A page of the documentation in the window: read, styled, and followed along its links."""

from __future__ import annotations

import re
from pathlib import Path

from PySide6.QtCore import Qt, QUrl, Signal
from PySide6.QtGui import (
    QDesktopServices,
    QFont,
    QImage,
    QTextBlock,
    QTextBlockFormat,
    QTextCharFormat,
    QTextCursor,
    QTextDocument,
    QTextFrameFormat,
    QTextLength,
    QTextTable,
)
from PySide6.QtWidgets import QFrame, QTextBrowser, QTextEdit

from particleseg_app.gui import theme

# A line of text longer than this is hard to follow.
TEXT_WIDTH = 760
PICTURE_WIDTH = 720
MARGIN = 28
_MOST_BYTES = 8 * 1024**2
# Sizes of headings in points, by their level.
_HEADINGS = {1: 20.0, 2: 15.0, 3: 12.0}


class GuidePage(QTextBrowser):
    """One page of the documentation, styled as the window is. Reads files of `folder` only."""

    page_wanted = Signal(str, str)  # another page of the folder, and the chapter there or nothing

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder = folder.resolve()
        self.setOpenLinks(False)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setAccessibleName("User guide")
        self.document().setDocumentMargin(MARGIN)
        self.setLineWrapMode(QTextEdit.LineWrapMode.FixedPixelWidth)
        self.setLineWrapColumnOrWidth(TEXT_WIDTH + 2 * MARGIN)
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


def _as_link(heading: str) -> str:
    """A heading as links to it are written: small letters, hyphens for spaces."""
    kept = re.sub(r"[^\w\- ]", "", heading.lower())
    return kept.replace(" ", "-")

"""The open project: its scans, the runs of each, and what can be done with them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from PySide6.QtCore import QPoint, QSize, Qt, Signal
from PySide6.QtGui import QAction, QFont, QKeySequence, QShortcut
from PySide6.QtWidgets import QHeaderView, QMenu, QTreeWidget, QTreeWidgetItem, QVBoxLayout, QWidget

from particleseg_app.gui import theme
from particleseg_app.gui.icons import icon
from particleseg_app.gui.reveal import file_manager_words
from particleseg_app.gui.style import button, label, row, tool_button

ID_ROLE = Qt.ItemDataRole.UserRole
KIND_ROLE = Qt.ItemDataRole.UserRole + 1
STATUS_ROLE = Qt.ItemDataRole.UserRole + 2

RENAME_KEY, REMOVE_KEY = "F2", "Del"
AT_WORK = ("working", "waiting")

STATUS_ICONS = {
    "finished": "done",
    "working": "working",
    "waiting": "waiting",
    "unfinished": "unfinished",
    "failed": "failed",
    "new": "unfinished",
}


@dataclass(frozen=True)
class RunItem:
    id: str
    name: str
    status: str  # a key of STATUS_ICONS
    detail: str
    tip: str = ""


@dataclass(frozen=True)
class ScanItem:
    id: str
    name: str
    detail: str
    runs: tuple[RunItem, ...] = ()


class ProjectPanel(QWidget):
    scan_chosen = Signal(str)
    run_chosen = Signal(str)
    run_continued = Signal(str)
    run_exported = Signal(str)
    new_run_wanted = Signal(str)  # scan id
    remove_scan_wanted = Signal(str)
    remove_run_wanted = Signal(str)
    reveal_wanted = Signal(str, str)  # "project" | "scan" | "run", id
    add_scan_wanted = Signal()
    rename_wanted = Signal(str, str)  # "project" | "scan" | "run", id
    run_stopped = Signal(str)
    close_wanted = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._name = label("", "heading")
        self._more = tool_button("more", "Project", self._show_project_menu)
        self.tree = QTreeWidget()
        self.tree.setHeaderHidden(True)
        self.tree.setColumnCount(2)
        self.tree.setIndentation(14)
        self.tree.setIconSize(QSize(18, 18))
        self.tree.setRootIsDecorated(False)
        self.tree.setItemsExpandable(False)  # nothing would show how to get the runs back
        self.tree.setExpandsOnDoubleClick(False)
        self.tree.setUniformRowHeights(True)
        self.tree.setFrameShape(QTreeWidget.Shape.NoFrame)
        theme.notifier.changed.connect(self._colour)
        self._colour()
        header = self.tree.header()
        header.setStretchLastSection(False)
        header.setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        header.setSectionResizeMode(1, QHeaderView.ResizeMode.ResizeToContents)
        self.tree.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)
        self.tree.customContextMenuRequested.connect(self._show_menu)
        self.tree.currentItemChanged.connect(self._on_current)
        for keys, act in ((RENAME_KEY, self._rename_chosen), (REMOVE_KEY, self._remove_chosen)):
            shortcut = QShortcut(QKeySequence(keys), self.tree)
            shortcut.setContext(Qt.ShortcutContext.WidgetShortcut)
            shortcut.activated.connect(act)
        self.new_run_button = button("New run…", self._new_run, icon_name="new-run")
        self.add_button = button("Add scan…", self.add_scan_wanted.emit, icon_name="add-scan")
        self.continue_button = button("Continue this run", self._continue, primary=True)
        self.continue_button.hide()
        self._read_only = ""

        top = row(self._name, None, self._more)
        top.setContentsMargins(16, 12, 8, 6)
        bottom = QVBoxLayout()
        bottom.setContentsMargins(12, 8, 12, 12)
        bottom.setSpacing(8)
        bottom.addWidget(self.continue_button)
        buttons = row(self.new_run_button, self.add_button)
        bottom.addLayout(buttons)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(0)
        layout.addLayout(top)
        middle = QVBoxLayout()
        middle.setContentsMargins(8, 0, 8, 0)
        middle.addWidget(self.tree)
        layout.addLayout(middle, 1)
        layout.addLayout(bottom)
        self._filling = False

    def set_project(self, name: str, scans: Sequence[ScanItem]) -> None:
        """Show a project; what was chosen stays chosen where it is still there."""
        chosen = self._chosen()
        self._name.setText(name)
        self._name.setToolTip(name)
        self._filling = True
        self.tree.clear()
        colours = theme.current()
        bold = QFont(self.tree.font())
        bold.setWeight(QFont.Weight.DemiBold)
        again: QTreeWidgetItem | None = None
        for scan in scans:
            top = QTreeWidgetItem([scan.name, scan.detail])
            top.setIcon(0, icon("scan"))
            top.setFont(0, bold)
            _fill(top, "scan", scan.id, "")
            for column in (0, 1):
                top.setToolTip(column, f"{scan.name}\n{scan.detail} voxels")
            self.tree.addTopLevelItem(top)
            again = top if chosen == ("scan", scan.id) else again
            for run in scan.runs:
                child = QTreeWidgetItem([run.name, run.detail])
                colour = {
                    "finished": colours.success,
                    "failed": colours.error,
                    "unfinished": colours.warning,
                    "working": colours.accent,
                }.get(run.status, colours.muted)
                child.setIcon(0, icon(STATUS_ICONS[run.status], colour))
                _fill(child, "run", run.id, run.status)
                child.setToolTip(0, run.tip or run.name)
                child.setToolTip(1, run.tip or run.detail)
                top.addChild(child)
                again = child if chosen == ("run", run.id) else again
            top.setExpanded(True)
        if again is not None:
            self.tree.setCurrentItem(again)
        self._filling = False
        self._show_choice()

    def set_read_only(self, why: str) -> None:
        """Refuse what would change the project, and say why; empty: nothing is refused."""
        self._read_only = why
        for changing in (self.new_run_button, self.add_button, self.continue_button):
            changing.setEnabled(not why)
            changing.setToolTip(why)
        self._show_choice()

    def choose(self, kind: str, item_id: str) -> None:
        """Mark a scan or run as the one shown, without asking for it again."""
        for item in self._items():
            if (item.data(0, KIND_ROLE), item.data(0, ID_ROLE)) == (kind, item_id):
                self._filling = True
                self.tree.setCurrentItem(item)
                self._filling = False
        self._show_choice()

    def chosen_scan(self) -> str | None:
        """The scan chosen, or that of the run chosen; the only scan when nothing is chosen."""
        item = self.tree.currentItem()
        if item is None:
            only = self.tree.topLevelItem(0) if self.tree.topLevelItemCount() == 1 else None
            return str(only.data(0, ID_ROLE)) if only else None
        parent = item.parent()
        return str((parent or item).data(0, ID_ROLE))

    def _colour(self) -> None:
        colours = theme.current()
        self.tree.setStyleSheet(
            "QTreeView {border: none; background: transparent; show-decoration-selected: 1}"
            "QTreeView::item {height: 30px; padding: 0 4px}"
            f"QTreeView::item:hover, QTreeView::branch:hover {{background: {colours.raised}}}"
            f"QTreeView::item:selected, QTreeView::branch:selected {{"
            f" background: {colours.selection}; color: {colours.text}}}"
        )

    def _chosen(self) -> tuple[str, str] | None:
        item = self.tree.currentItem()
        return (item.data(0, KIND_ROLE), item.data(0, ID_ROLE)) if item else None

    def _items(self) -> list[QTreeWidgetItem]:
        result: list[QTreeWidgetItem] = []
        for number in range(self.tree.topLevelItemCount()):
            top = self.tree.topLevelItem(number)
            if top is not None:
                children = (top.child(n) for n in range(top.childCount()))
                result += [top, *(child for child in children if child is not None)]
        return result

    def _on_current(self, item: QTreeWidgetItem | None) -> None:
        if self._filling or item is None:
            return
        self._show_choice()
        kind = item.data(0, KIND_ROLE)
        (self.scan_chosen if kind == "scan" else self.run_chosen).emit(item.data(0, ID_ROLE))

    def _show_choice(self) -> None:
        item = self.tree.currentItem()
        can = item is not None and item.data(0, STATUS_ROLE) in ("unfinished", "failed")
        self.continue_button.setVisible(can)
        self.new_run_button.setEnabled(self.chosen_scan() is not None and not self._read_only)

    def _rename_chosen(self) -> None:
        chosen = self._chosen()
        if chosen is not None and not self._read_only:
            self.rename_wanted.emit(*chosen)

    def _remove_chosen(self) -> None:
        item = self.tree.currentItem()
        if item is None or self._read_only:
            return
        key = str(item.data(0, ID_ROLE))
        if item.data(0, KIND_ROLE) == "scan":
            self.remove_scan_wanted.emit(key)
        elif item.data(0, STATUS_ROLE) not in AT_WORK:
            self.remove_run_wanted.emit(key)

    def _continue(self) -> None:
        chosen = self._chosen()
        if chosen is not None:
            self.run_continued.emit(chosen[1])

    def _new_run(self) -> None:
        scan = self.chosen_scan()
        if scan is not None:
            self.new_run_wanted.emit(scan)

    def _show_menu(self, place: QPoint) -> None:
        item = self.tree.itemAt(place)
        if item is not None:
            menu = self.menu_for(item)
            menu.popup(self.tree.viewport().mapToGlobal(place))

    def menu_for(self, item: QTreeWidgetItem) -> QMenu:
        """The context menu of a scan or run."""
        menu = self._new_menu()
        key, status = str(item.data(0, ID_ROLE)), item.data(0, STATUS_ROLE)
        if item.data(0, KIND_ROLE) == "scan":
            new = menu.addAction(icon("new-run"), "New run…", lambda: self.new_run_wanted.emit(key))
            menu.addSeparator()
            rename = menu.addAction(
                icon("rename"), "Rename…", lambda: self.rename_wanted.emit("scan", key)
            )
            menu.addAction(
                icon("reveal"), file_manager_words(), lambda: self.reveal_wanted.emit("scan", key)
            )
            remove = menu.addAction(
                icon("remove"), "Remove this scan…", lambda: self.remove_scan_wanted.emit(key)
            )
            _show_key(rename, RENAME_KEY)
            _show_key(remove, REMOVE_KEY)
            self._refuse(new, rename, remove)
            return menu
        if status in ("unfinished", "failed"):
            go_on = menu.addAction(
                icon("continue"), "Continue", lambda: self.run_continued.emit(key)
            )
            self._refuse(go_on)
        if status == "finished":
            menu.addAction(icon("export"), "Export…", lambda: self.run_exported.emit(key))
        if status in AT_WORK:
            menu.addAction(icon("close"), "Stop", lambda: self.run_stopped.emit(key))
        menu.addSeparator()
        rename = menu.addAction(
            icon("rename"), "Rename…", lambda: self.rename_wanted.emit("run", key)
        )
        menu.addAction(
            icon("reveal"), file_manager_words(), lambda: self.reveal_wanted.emit("run", key)
        )
        remove = menu.addAction(
            icon("remove"), "Remove this run…", lambda: self.remove_run_wanted.emit(key)
        )
        _show_key(rename, RENAME_KEY)
        _show_key(remove, REMOVE_KEY)
        remove.setEnabled(status not in AT_WORK)
        self._refuse(rename, remove)
        return menu

    def _new_menu(self) -> QMenu:
        menu = QMenu(self)
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        menu.setToolTipsVisible(bool(self._read_only))
        return menu

    def _refuse(self, *actions: QAction) -> None:
        """Disable actions that change the project, if it is open for reading only."""
        if self._read_only:
            for action in actions:
                action.setEnabled(False)
                action.setToolTip(self._read_only)

    def _show_project_menu(self) -> None:
        menu = self.project_menu()
        menu.popup(self._more.mapToGlobal(QPoint(0, self._more.height())))

    def project_menu(self) -> QMenu:
        """The menu of the project as a whole."""
        menu = self._new_menu()
        rename = menu.addAction(
            icon("rename"), "Rename project…", lambda: self.rename_wanted.emit("project", "")
        )
        menu.addAction(
            icon("reveal"), file_manager_words(), lambda: self.reveal_wanted.emit("project", "")
        )
        menu.addSeparator()
        menu.addAction(icon("close"), "Close project", self.close_wanted.emit)
        self._refuse(rename)
        return menu


def _show_key(action: QAction, key: str) -> None:
    """Name a key of the tree beside an action of its menu, which does not listen to it itself."""
    action.setShortcut(QKeySequence(key))
    action.setShortcutContext(Qt.ShortcutContext.WidgetShortcut)
    action.setShortcutVisibleInContextMenu(True)


def _fill(item: QTreeWidgetItem, kind: str, key: str, status: str) -> None:
    item.setData(0, KIND_ROLE, kind)
    item.setData(0, ID_ROLE, key)
    item.setData(0, STATUS_ROLE, status)
    item.setTextAlignment(1, Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
    item.setForeground(1, theme.colour(theme.current().muted))

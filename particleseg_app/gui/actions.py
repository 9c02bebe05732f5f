"""The actions of the window: menus, toolbar and keyboard shortcuts."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import QObject, QSize, Qt, Signal
from PySide6.QtGui import QAction, QActionGroup, QKeySequence
from PySide6.QtWidgets import (
    QHBoxLayout,
    QMainWindow,
    QMenu,
    QSizePolicy,
    QSlider,
    QToolBar,
    QWidget,
)

from particleseg_app.gui.icons import icon
from particleseg_app.gui.settings import settings
from particleseg_app.gui.style import label
from particleseg_app.gui.viewers.appearance_bar import AppearanceBar

THEMES = (("system", "As the system"), ("light", "Light"), ("dark", "Dark"))
Standard = QKeySequence.StandardKey


class Actions(QObject):
    """Makes the actions and tells what was asked for; enabling them is the window's matter."""

    open_folder = Signal()
    open_file = Signal()
    open_project = Signal()
    close_project = Signal()
    new_run = Signal()
    export = Signal()
    save_views = Signal()
    save_sizes = Signal()
    review = Signal()
    mend = Signal()
    phases = Signal()
    stop_work = Signal()
    show_all = Signal()
    filter_table = Signal()
    about = Signal()
    guide = Signal()
    keys = Signal()
    quit = Signal()
    opacity_changed = Signal(float)
    mode_changed = Signal(str)
    theme_changed = Signal(str)

    def __init__(self, window: QMainWindow) -> None:
        super().__init__(window)
        self._window = window
        self._reviewing = False
        self._read_only = ""
        self._appearance: AppearanceBar | None = None
        make = self._make
        self.open_folder_action = make(
            "Open folder of slices…", "folder", "Ctrl+O", self.open_folder
        )
        self.open_file_action = make("Open TIFF file…", "file", "Ctrl+Shift+O", self.open_file)
        self.open_project_action = make("Open project…", "open", "Ctrl+P", self.open_project)
        self.close_project_action = make("Close project", "close", "Ctrl+W", self.close_project)
        self.new_run_action = make("New run…", "new-run", "Ctrl+N", self.new_run)
        self.export_action = make("Export…", "export", "Ctrl+E", self.export)
        self.save_views_action = make(
            "Save picture of the views…", "scan", "Ctrl+Shift+S", self.save_views
        )
        self.save_sizes_action = make("Save picture of the sizes…", "chart", "", self.save_sizes)
        self.review_action = make("Review", "review", "Ctrl+R", self.review)
        self.review_action.setCheckable(True)
        self.mend_action = make("Mend this particle", "split", "Ctrl+M", self.mend)
        self.phases_action = make("Phases…", "phases", "Ctrl+H", self.phases)
        self.stop_action = make("Cancel running work", "close", "Ctrl+.", self.stop_work)
        self.show_all_action = make("Show the whole scan", "scan", "Ctrl+0", self.show_all)
        self.filter_action = make("Filter particles", "filter", "Ctrl+F", self.filter_table)
        self.about_action = make("About ParticleSeg", "info", "", self.about)
        self.guide_action = make("User guide", "", "F1", self.guide)
        self.keys_action = make("Keys", "", "Shift+F1", self.keys)
        self.quit_action = make("Quit", "", Standard.Quit, self.quit)
        self.fill_action = make("Fill particles", "fill", "Ctrl+1", None)
        self.contours_action = make("Outline particles", "contours", "Ctrl+2", None)
        modes = QActionGroup(self)
        for action, mode in ((self.fill_action, "fill"), (self.contours_action, "contours")):
            action.setCheckable(True)
            action.setData(mode)
            modes.addAction(action)
        modes.triggered.connect(lambda action: self._set_mode(str(action.data())))
        self.opacity = QSlider(Qt.Orientation.Horizontal)
        self.opacity.setRange(0, 100)
        self.opacity.setFixedWidth(120)
        self.opacity.setAccessibleName("How strongly particles are coloured")
        self.opacity.setToolTip("How strongly particles are coloured")
        self.opacity.valueChanged.connect(self._set_opacity)
        self._overlay = QWidget()
        self._overlay.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Preferred)
        overlay = QHBoxLayout(self._overlay)
        overlay.setContentsMargins(12, 0, 8, 0)
        overlay.addWidget(label("Overlay", "muted"))
        overlay.addWidget(self.opacity)
        self._fill_menus()
        self._fill_toolbar()
        changing = (
            self.open_folder_action, self.open_file_action, self.new_run_action, self.mend_action,
        )  # fmt: skip
        self._tips = {action: action.toolTip() for action in changing}

    def add_appearance(self, bar: AppearanceBar) -> None:
        """Take in the controls of how particles look, beside those of their overlay."""
        self._appearance = bar
        bar.phases_button.setDefaultAction(self.phases_action)
        bar.phases_wanted.connect(self.phases)
        self._appearance_place = self.toolbar.insertWidget(self._overlay_place, bar)
        before = self.show_all_action
        self._view_menu.insertActions(
            before, [bar.hide_action, bar.isolate_action, bar.show_all_action]
        )
        self._view_menu.insertSeparator(before)

    def restore(self) -> None:
        """Take up the last choices; emits what they are."""
        store = settings()
        mode = str(store.value("overlay/mode", "fill"))
        (self.contours_action if mode == "contours" else self.fill_action).setChecked(True)
        self.mode_changed.emit("contours" if mode == "contours" else "fill")
        opacity = int(str(store.value("overlay/opacity", 45)))
        self.opacity.setValue(opacity)
        self.opacity_changed.emit(opacity / 100)

    def with_keys(self) -> list[QAction]:
        """The window's actions that have keys, in the order of its menus."""
        menus = [top.menu() for top in self._window.menuBar().actions()]
        inside = [a for menu in menus if isinstance(menu, QMenu) for a in menu.actions()]
        return [action for action in inside if not action.shortcut().isEmpty()]

    def show_state(
        self,
        project: bool,
        scan: bool,
        result: bool,
        busy: bool,
        reviewing: bool = False,
        read_only: str = "",
    ) -> None:
        """Enable what can be done now. `read_only`: why the project cannot be changed, if so."""
        self._reviewing = reviewing
        self._read_only = read_only
        for action, tip in self._tips.items():
            action.setToolTip(read_only or tip)
        for menu in self._menus:
            menu.setToolTipsVisible(bool(read_only))
        for opening in (self.open_folder_action, self.open_file_action):
            opening.setEnabled(not read_only)
        self.close_project_action.setEnabled(project)
        self.new_run_action.setEnabled(scan and not read_only)
        self.export_action.setEnabled(result)
        self.save_views_action.setEnabled(scan)
        self.save_sizes_action.setEnabled(result and not reviewing)
        self.review_action.setEnabled(result)
        self.phases_action.setEnabled(result and not reviewing)
        self.filter_action.setEnabled(result and not reviewing)
        self.show_all_action.setEnabled(scan and not reviewing)
        self.stop_action.setEnabled(busy)
        for part in (self._overlay, self.fill_action, self.contours_action):
            part.setEnabled(result)
        if self._appearance is not None:
            self._appearance.setEnabled(result and not reviewing)
            self._appearance_place.setVisible(not reviewing)  # a case has colours of its own
        self.review_action.setChecked(reviewing)
        self.toolbar.setVisible(project)

    def show_selection(self, particles: int) -> None:
        """Enable what can be done with the particles chosen."""
        possible = self.review_action.isEnabled() and not self._reviewing and not self._read_only
        self.mend_action.setEnabled(particles > 0 and possible)
        self.mend_action.setText(
            f"Mend {particles} particles" if particles > 1 else "Mend this particle"
        )
        if self._read_only:
            self.mend_action.setToolTip(self._read_only)  # a new text brings its own

    def _make(
        self,
        text: str,
        picture: str,
        keys: str | QKeySequence.StandardKey,
        triggered: object,
    ) -> QAction:
        action = QAction(text, self)
        if picture:
            action.setIcon(icon(picture))
        if keys:
            action.setShortcut(QKeySequence(keys))
            shown = action.shortcut().toString(QKeySequence.SequenceFormat.NativeText)
            action.setToolTip(f"{text.rstrip('…')} ({shown})")
        if triggered is not None:
            emit: Callable[[], None] = triggered.emit  # type: ignore[attr-defined]
            action.triggered.connect(lambda _checked=False: emit())
        self._window.addAction(action)
        return action

    def _fill_menus(self) -> None:
        bar = self._window.menuBar()
        file = bar.addMenu("&File")
        file.addActions([self.open_folder_action, self.open_file_action, self.open_project_action])
        file.addSeparator()
        file.addActions([self.export_action, self.save_views_action, self.save_sizes_action])
        file.addSeparator()
        file.addActions([self.close_project_action, self.quit_action])
        run = bar.addMenu("&Run")
        self._menus = (file, run)
        run.addActions([self.new_run_action, self.stop_action])
        run.addSeparator()
        run.addActions([self.review_action, self.mend_action])
        run.addSeparator()
        run.addAction(self.phases_action)
        self._view_menu = view = bar.addMenu("&View")
        view.addActions([self.fill_action, self.contours_action])
        view.addSeparator()
        view.addActions([self.show_all_action, self.filter_action])
        view.addSeparator()
        look = view.addMenu("Colours")
        self._themes = QActionGroup(self)
        chosen = str(settings().value("theme", "system"))
        for key, text in THEMES:
            action = look.addAction(text)
            action.setCheckable(True)
            action.setChecked(key == chosen)
            action.setData(key)
            self._themes.addAction(action)
        self._themes.triggered.connect(lambda action: self._set_theme(str(action.data())))
        bar.addMenu("&Help").addActions([self.guide_action, self.keys_action, self.about_action])

    def _fill_toolbar(self) -> None:
        self.toolbar = QToolBar("Main toolbar")
        self.toolbar.setObjectName("toolbar")
        self.toolbar.setMovable(False)
        self.toolbar.setFloatable(False)
        self.toolbar.setIconSize(QSize(20, 20))
        self.toolbar.setContextMenuPolicy(Qt.ContextMenuPolicy.PreventContextMenu)
        self.toolbar.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        opening = QAction(icon("open"), "Open…", self)
        opening.setToolTip("Open another scan or project")
        self.toolbar.addAction(opening)
        button = self.toolbar.widgetForAction(opening)
        opening.triggered.connect(lambda _checked=False: self._show_open_menu(button))
        self.toolbar.addActions(
            [self.new_run_action, self.review_action, self.mend_action, self.export_action]
        )
        gap = QWidget()
        gap.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Preferred)
        self.toolbar.addWidget(gap)
        self._overlay_place = self.toolbar.addWidget(self._overlay)
        for action in (self.fill_action, self.contours_action):
            self.toolbar.addAction(action)
            shown = self.toolbar.widgetForAction(action)
            shown.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonIconOnly)  # type: ignore[attr-defined]
        self.toolbar.setStyleSheet(
            "QToolBar {background: palette(window); border: none; spacing: 4px; padding: 3px 8px;"
            " border-bottom: 1px solid palette(mid)}"
        )
        self._window.addToolBar(self.toolbar)

    def _show_open_menu(self, button: QWidget) -> None:
        menu = QMenu(button)
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        menu.addActions([self.open_folder_action, self.open_file_action, self.open_project_action])
        menu.popup(button.mapToGlobal(button.rect().bottomLeft()))

    def _set_mode(self, mode: str) -> None:
        settings().setValue("overlay/mode", mode)
        self.mode_changed.emit(mode)

    def _set_opacity(self, percent: int) -> None:
        settings().setValue("overlay/opacity", percent)
        self.opacity_changed.emit(percent / 100)

    def _set_theme(self, key: str) -> None:
        settings().setValue("theme", key)
        self.theme_changed.emit(key)

"""The window: puts pages, messages and progress together and passes intents on."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QTimer
from PySide6.QtGui import QCloseEvent, QDragEnterEvent, QDragLeaveEvent, QDropEvent
from PySide6.QtWidgets import QApplication, QMainWindow, QStackedWidget, QVBoxLayout, QWidget

from particleseg_app.errors import UserError
from particleseg_app.gui import theme
from particleseg_app.gui.actions import Actions
from particleseg_app.gui.banner import Banner
from particleseg_app.gui.crash_handler import CrashHandler
from particleseg_app.gui.drop_zone import DropVeil, dropped_paths
from particleseg_app.gui.flows import Flows
from particleseg_app.gui.icons import application_icon
from particleseg_app.gui.opening import Opening, names_project
from particleseg_app.gui.project_page import ProjectPage
from particleseg_app.gui.read_only import READ_ONLY, ReadOnlyLine
from particleseg_app.gui.reveal import reveal_in_file_manager
from particleseg_app.gui.review.review_flow import ReviewFlow
from particleseg_app.gui.review.review_page import ReviewPage
from particleseg_app.gui.session import Session
from particleseg_app.gui.settings import settings
from particleseg_app.gui.start_page import StartPage
from particleseg_app.gui.style import controls_style
from particleseg_app.gui.tasks import ProgressPanel, Task, running_tasks
from particleseg_app.gui.viewers.appearance import BY_PHASE

APPLICATION = "ParticleSeg"
SMALLEST = (1260, 680)  # in which nothing is cut off; fits a screen of 1280 × 720


class MainWindow(QMainWindow):
    def __init__(self, crashes: CrashHandler | None = None) -> None:
        super().__init__()
        self._crashes = crashes
        self._closing = False
        self._waited_for: set[Task] = set()  # before the window closes
        self.setWindowTitle(APPLICATION)
        self.setWindowIcon(application_icon())
        self.setAcceptDrops(True)
        self.setMinimumSize(*SMALLEST)
        self.session = Session(self)
        self.banner = Banner()
        self.read_only_line = ReadOnlyLine()
        self.progress = ProgressPanel(margin=8)
        self.start_page = StartPage()
        self.project_page = ProjectPage()
        self.review_page = ReviewPage()
        self.review = ReviewFlow(self.session, self.review_page)
        self.opening = Opening(self, self.session, self.banner)
        self.flows = Flows(self, self.session, self.banner)
        self.actions_ = Actions(self)
        self.actions_.add_appearance(self.project_page.appearance_bar)
        self.pages = QStackedWidget()
        self.pages.addWidget(self.start_page)
        self.pages.addWidget(self.project_page)
        self.pages.addWidget(self.review_page)
        centre = QWidget()
        self._layout = QVBoxLayout(centre)
        self._layout.setContentsMargins(0, 0, 0, 0)
        self._layout.setSpacing(0)
        self._layout.addWidget(self.read_only_line)
        self._layout.addWidget(self.banner)
        self._layout.addWidget(self.pages, 1)
        self._layout.addWidget(self.progress)
        self.setCentralWidget(centre)
        self._veil = DropVeil(centre)
        self._connect_session()
        self._connect_intents()
        self._restore()
        theme.notifier.changed.connect(self._take_colours)
        self._take_colours()
        self._show_project()
        self._show_recent()

    # --- wiring --------------------------------------------------------------------------------

    def _connect_session(self) -> None:
        session = self.session
        session.stays_as_it_is = lambda: self.review.active or self.flows.phases_dialog is not None
        session.project_changed.connect(self._show_project)
        session.items_changed.connect(self._show_items)
        session.shown_changed.connect(self._show_shown)
        session.table_changed.connect(self._show_table)
        self.review.page_wanted.connect(self._show_review)
        session.answers_changed.connect(self._show_voxel_size)
        session.recent_changed.connect(self._show_recent)
        session.failed.connect(self.show_error)
        session.jobs.started.connect(self._on_job_started)
        session.jobs.changed.connect(self._on_jobs_changed)

    def _connect_intents(self) -> None:
        opening, flows = self.opening, self.flows
        session, start = self.session, self.start_page
        start.folder_wanted.connect(opening.choose_folder)
        start.file_wanted.connect(opening.choose_file)
        start.project_wanted.connect(opening.choose_project)
        self.read_only_line.changes_wanted.connect(opening.open_for_changes)
        start.recent_opened.connect(opening.open_project)
        start.recent_removed.connect(self._forget_recent)
        start.recent_revealed.connect(reveal_in_file_manager)
        panel = self.project_page.projects
        panel.scan_chosen.connect(session.show_scan)
        panel.run_chosen.connect(session.show_run)
        panel.run_continued.connect(session.continue_run)
        panel.run_stopped.connect(session.withdraw_run)
        panel.run_exported.connect(self._export_run)
        panel.new_run_wanted.connect(flows.start_wizard)
        panel.remove_scan_wanted.connect(flows.remove_scan)
        panel.remove_run_wanted.connect(flows.remove_run)
        panel.reveal_wanted.connect(flows.reveal)
        panel.rename_wanted.connect(flows.rename)
        panel.add_scan_wanted.connect(opening.choose_folder)
        panel.close_wanted.connect(opening.close_project)
        actions, page = self.actions_, self.project_page
        actions.open_folder.connect(opening.choose_folder)
        actions.open_file.connect(opening.choose_file)
        actions.open_project.connect(opening.choose_project)
        actions.close_project.connect(opening.close_project)
        actions.new_run.connect(self._new_run)
        actions.export.connect(self._export)
        actions.save_views.connect(self._save_views)
        actions.save_sizes.connect(lambda: flows.save_picture(page.sizes, "sizes"))
        actions.review.connect(self._review)
        actions.mend.connect(self._mend)
        actions.phases.connect(flows.phases)
        page.particle_selected.connect(lambda _particle: self._show_marked())
        page.table.marked_changed.connect(self._show_marked)
        actions.stop_work.connect(self._stop_work)
        actions.show_all.connect(page.slices.show_all)
        actions.filter_table.connect(page.table.filter_box.setFocus)
        actions.about.connect(self._show_about)
        actions.guide.connect(self._show_guide)
        actions.keys.connect(self._show_keys)
        actions.quit.connect(self.close)
        actions.opacity_changed.connect(page.slices.set_overlay_opacity)
        actions.mode_changed.connect(page.slices.set_overlay_mode)
        actions.opacity_changed.connect(self.review_page.slices.set_overlay_opacity)
        actions.mode_changed.connect(self.review_page.slices.set_overlay_mode)
        actions.theme_changed.connect(self._set_theme)

    def _take_colours(self) -> None:
        self.setStyleSheet(controls_style())
        self._show_items()

    # --- what is shown -------------------------------------------------------------------------

    def open_paths(self, paths: list[Path]) -> None:
        self.opening.open_paths(paths)

    def show_error(self, error: BaseException) -> None:
        """What the user can put right as a message; anything else as a crash report."""
        if isinstance(error, UserError):
            self.banner.show_error(error)
            return
        self.banner.hide()
        if self._crashes is None:
            raise error
        self._crashes.report(error)

    def _show_project(self) -> None:
        project = self.session.project
        self.banner.hide()
        self.pages.setCurrentWidget(self.start_page if project is None else self.project_page)
        self.setWindowTitle(APPLICATION)
        self.read_only_line.show_reason(self.session.read_only)
        self.project_page.projects.set_read_only(READ_ONLY if self.session.read_only else "")
        self._show_shown()

    def _show_items(self) -> None:
        project = self.session.project
        if project is not None:
            panel = self.project_page.projects
            panel.set_project(project.name, self.session.items())
            if self.session.wanted is not None:
                panel.choose(*self.session.wanted)
            only = " (reading only)" if self.session.read_only else ""
            self.setWindowTitle(f"{project.name}{only} – {APPLICATION}")
        self._show_actions()

    def _show_table(self) -> None:
        """The table was brought up to date after a mend."""
        shown = self.session.shown
        if shown is not None and not self.review.active:
            self.project_page.show_mended(shown)
            self._show_items()

    def _show_review(self, review: bool) -> None:
        if review:
            self.flows.close_phases()
        self.pages.setCurrentWidget(self.review_page if review else self.project_page)
        shown = self.session.shown
        if not review and shown is not None and shown.table is not None:
            self.project_page.show_mended(shown)
        if not review:
            self._show_items()  # which say how many particles there are now
        self._show_actions()

    def _show_shown(self) -> None:
        self.review.leave()
        shown = self.session.shown
        if shown is not None:
            self.project_page.show_scan(shown)
            if self.session.wanted is not None:
                self.project_page.projects.choose(*self.session.wanted)
        elif self.session.project is not None and self.session.jobs.busy:
            self.project_page.show_nothing(
                "The scan is being copied into the project", "It is shown here when that is done."
            )
        elif self.session.project is not None and not self.session.project.scans:
            self.project_page.show_nothing(
                "This project has no scan yet", "Drop a folder of TIFF slices on the window."
            )
        else:
            self.project_page.show_nothing()
        self._show_items()

    def _show_voxel_size(self) -> None:
        shown = self.session.shown
        if shown is not None:
            self.project_page.set_voxel_size(shown.voxel_size_um)

    def _show_actions(self) -> None:
        shown, session = self.session.shown, self.session
        reviewing = self.review.active
        self.actions_.show_state(
            project=session.project is not None,
            scan=shown is not None,
            result=shown is not None and shown.table is not None,
            busy=session.jobs.busy,
            reviewing=reviewing,
            read_only=READ_ONLY if session.read_only else "",
        )
        self._show_marked()

    def _show_marked(self) -> None:
        self.actions_.show_selection(len(self.project_page.chosen_particles()))

    def _show_recent(self) -> None:
        self.start_page.set_recent(self.session.recent.list())

    def _forget_recent(self, folder: Path) -> None:
        self.session.recent.forget(folder)
        self._show_recent()

    def _on_job_started(self, task: Task) -> None:
        self.progress.show_task(task)
        if self.session.shown is None:
            self._show_shown()

    def _on_jobs_changed(self) -> None:
        self.progress.show_waiting(len(self.session.jobs.waiting))
        if self.session.shown is None and not self.session.jobs.busy:
            self._show_shown()  # an import that was cancelled or failed leaves nothing to wait for
        self._show_actions()
        if self._closing:
            self._close_when_still()

    # --- intents -------------------------------------------------------------------------------

    def _new_run(self) -> None:
        scan_id = self.project_page.projects.chosen_scan()
        if scan_id is None and self.session.shown is not None:
            scan_id = self.session.shown.entry.id
        if scan_id is not None:
            self.flows.start_wizard(scan_id)

    def _export(self) -> None:
        shown = self.session.shown
        if shown is not None and shown.run is not None:
            self._export_run(shown.run.id)

    def _export_run(self, run_id: str) -> None:
        shown = self.session.shown
        seen = shown is not None and shown.run is not None and shown.run.id == run_id
        # The table beside the results does not know the mends of a review that goes on.
        known = seen and not self.review.active
        self.flows.export(run_id, self.project_page.table.content() if known else None)

    def _save_views(self) -> None:
        page = self.review_page if self.review.active else self.project_page
        self.flows.save_picture(page.slices, "views")

    def _review(self) -> None:
        if self.review.active:
            self.review.leave()
        else:
            self._hand_on_colours()
            self.review.start(self.project_page.slices.window_range)
        self._show_actions()

    def _hand_on_colours(self) -> None:
        """A case is coloured by main phase where the results are."""
        appearance = self.project_page.appearance
        by_phase = appearance.coloured_by == BY_PHASE
        self.review_page.view.by_class = appearance.look.colouring if by_phase else None

    def _mend(self) -> None:
        particles = self.project_page.chosen_particles()
        self._hand_on_colours()
        self.review.mend(particles, self.project_page.slices.window_range)

    def _stop_work(self) -> None:
        if self.session.jobs.current is not None:
            self.session.jobs.current.cancel()

    def _show_about(self) -> None:
        from particleseg_app.gui.about import AboutDialog

        AboutDialog(self).open()

    def _show_guide(self) -> None:
        from particleseg_app.gui.guide_window import PARTICLES, REVIEW, show_guide

        shown = self.session.shown
        results = PARTICLES if shown is not None and shown.run is not None else ""
        show_guide(self, REVIEW if self.review.active else results)

    def _show_keys(self) -> None:
        from particleseg_app.gui.keys_dialog import KeysDialog

        KeysDialog(self.actions_.with_keys(), self).open()

    def _set_theme(self, key: str) -> None:
        app = QApplication.instance()
        if isinstance(app, QApplication):
            theme.apply_theme(app, {"light": False, "dark": True}.get(key))

    # --- drag and drop -------------------------------------------------------------------------

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:  # noqa: N802
        if not dropped_paths(event.mimeData()):
            return
        event.acceptProposedAction()
        self.start_page.drop_zone.set_active(True)
        project = self.session.project
        if project is not None:
            text = f"Let go to add the scan to {project.name}"
            if names_project(dropped_paths(event.mimeData())):
                text = "Let go to open the project"
            elif self.session.read_only:
                text = f"{project.name} is open for reading only; only a project can be dropped"
            self._veil.show_over(self.pages, text)

    def dragLeaveEvent(self, event: QDragLeaveEvent) -> None:  # noqa: N802
        self._end_drag()

    def dropEvent(self, event: QDropEvent) -> None:  # noqa: N802
        self._end_drag()
        paths = dropped_paths(event.mimeData())
        if paths:
            event.acceptProposedAction()
            # After the drop has ended, or the file manager would wait for our dialogs.
            QTimer.singleShot(0, self, lambda: self.opening.open_paths(paths))

    def _end_drag(self) -> None:
        self.start_page.drop_zone.set_active(False)
        self._veil.hide()

    # --- beginning and end ---------------------------------------------------------------------

    def _restore(self) -> None:
        geometry = settings().value("window/geometry")
        if geometry is None or not self.restoreGeometry(geometry):
            room = self.screen().availableSize()
            self.resize(min(1600, room.width() * 9 // 10), min(1000, room.height() * 9 // 10))
        self.project_page.restore_layout()
        self.actions_.restore()

    def closeEvent(self, event: QCloseEvent) -> None:  # noqa: N802
        if not self._closing and not self.flows.may_stop_work("Close"):
            event.ignore()
            return
        self._closing = True
        self.review.leave()
        if self.flows.wizard is not None:
            self.flows.wizard.reject()
        self.flows.close_phases()
        self.session.jobs.cancel_all()
        for task in running_tasks():
            task.cancel()
        if running_tasks():
            event.ignore()
            self.banner.show_info("Closing…", "What is being written is finished first.")
            self.setEnabled(False)
            self._wait_for_tasks()
            return
        settings().setValue("window/geometry", self.saveGeometry())
        self.project_page.save_layout()
        self.session.close_project()
        self.project_page.stop()
        self.review_page.stop()
        event.accept()

    def _wait_for_tasks(self) -> None:
        for task in set(running_tasks()) - self._waited_for:
            self._waited_for.add(task)
            task.cancel()
            task.ended.connect(self._close_when_still)

    def _close_when_still(self) -> None:
        if running_tasks():
            self._wait_for_tasks()  # one may have begun when another ended
        else:
            QTimer.singleShot(0, self, self.close)

"""Starts the window: `particleseg-gui [PATH]`, where PATH is a project, a TIFF folder or file."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from particleseg_app import __version__

if TYPE_CHECKING:
    from PySide6.QtWidgets import QApplication

    from particleseg_app.gui.main_window import MainWindow
    from particleseg_app.progress import CancelToken, Progress


NEEDED_SOON = ("particleseg_app.projects.segmentation_job", "vispy.scene")
AHEAD_MS = 100  # after the window has been drawn


def main(argv: Sequence[str] | None = None) -> int:
    """Open the window, with PATH in it when one is given; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="particleseg-gui",
        description="Find, separate and measure the particles of a micro-CT scan in a window.",
    )
    parser.add_argument("path", nargs="*", type=Path, help="project, TIFF folder or TIFF file")
    parser.add_argument("--version", action="version", version=f"ParticleSeg {__version__}")
    arguments = parser.parse_args(sys.argv[1:] if argv is None else argv)

    from PySide6.QtCore import QTimer

    from particleseg_app.gui.tasks import Task, stop_all_tasks

    app, window = make_window()
    window.show()
    QTimer.singleShot(AHEAD_MS, window, lambda: Task("Getting ready", import_ahead).start())
    if arguments.path:
        paths = [path.absolute() for path in arguments.path]
        QTimer.singleShot(0, window, lambda: window.open_paths(paths))
    code = app.exec()
    stop_all_tasks()
    return code


def import_ahead(progress: Progress, cancel: CancelToken) -> None:
    """Import what the first project needs while the start page is looked at.

    Done when it is needed, this would hold up the window for most of a second.
    """
    for package in NEEDED_SOON:
        if not cancel.cancelled:
            import_module(package)


def make_window() -> tuple[QApplication, MainWindow]:
    """The application and its window, not yet shown; errors are caught and logged from here on."""
    from PySide6.QtCore import Qt
    from PySide6.QtWidgets import QApplication

    from particleseg_app.gui.crash_handler import CrashHandler, start_log

    start_log()
    # What Qt needs to know before the first window: sharing lets 3D views be moved about.
    QApplication.setAttribute(Qt.ApplicationAttribute.AA_ShareOpenGLContexts)
    app = QApplication.instance() or QApplication(sys.argv[:1])
    assert isinstance(app, QApplication)
    crashes = CrashHandler()
    crashes.install()
    app.setApplicationName("ParticleSeg")
    app.setApplicationVersion(__version__)
    app.setDesktopFileName("particleseg")

    from particleseg_app.gui import theme
    from particleseg_app.gui.icons import application_icon
    from particleseg_app.gui.main_window import MainWindow
    from particleseg_app.gui.settings import settings

    app.setWindowIcon(application_icon())
    chosen = str(settings().value("theme", "system"))
    theme.apply_theme(app, {"light": False, "dark": True}.get(chosen))
    return app, MainWindow(crashes)


if __name__ == "__main__":
    raise SystemExit(main())
